/**
 * The files a configuration names: read bounded, checked for being what their key says.
 *
 * Faults are told in words that complete "PATH ...", without a word of what is in the file.
 */
import { createPrivateKey, X509Certificate } from "node:crypto";
import { type FileHandle, open, readlink, realpath, stat } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { MAX_LOGO_BYTES, readLogo } from "../alert/logo.ts";
import { asSensorError, fileFault, SensorError } from "../errors.ts";
import { compileTemplate } from "../report/formats/template.ts";
import type { FileKind } from "./note.ts";
import { printable } from "./problem.ts";

const MAX_SECRET = 64 * 1024;
const MAX_FILE = 1024 * 1024;
/** Symbolic links that are followed one after the other to a file that is not there yet; Linux has 40. */
const MAX_LINKS = 40;
/** A million domains or hashes with comments. */
const MAX_LIST_FILE = 128 * 1024 * 1024;
/** How often a list is looked at that changes while it is read, and the time between, milliseconds. */
const LIST_LOOKS = 4;
const LIST_PAUSE_MS = 250;

type Read = { readonly bytes: Buffer; readonly mode: number; readonly gid: number };
type Fault = { readonly fault: string };

/**
 * The bytes of a file of at most `limit` bytes, or what keeps it from being read. A pipe or a device could make
 * it wait for ever: only `any` lets them in, for a configuration that comes from /dev/stdin.
 */
export async function readBounded(
  path: string,
  limit: number,
  allow: "file" | "any" = "file",
): Promise<Read | Fault> {
  try {
    const facts = await stat(path);
    if (facts.isDirectory()) return { fault: "is a folder" };
    if (allow === "file" && !facts.isFile()) return { fault: "is no plain file" };
    await using file = await open(path, "r");
    const bytes = await readUpTo(file, limit);
    if (bytes.length > limit) return { fault: `is larger than ${limit / 1024} KB` };
    return { bytes, mode: facts.mode, gid: facts.gid };
  } catch (thrown) {
    return faultOf(thrown);
  }
}

/** The first bytes of a file, one more than `limit` where it has more. */
async function readUpTo(file: FileHandle, limit: number): Promise<Buffer> {
  const buffer = Buffer.allocUnsafeSlow(limit + 1);
  let length = 0;
  while (length <= limit) {
    const { bytesRead } = await file.read(buffer, length, buffer.length - length, null);
    if (bytesRead === 0) break;
    length += bytesRead;
  }
  return buffer.subarray(0, length);
}

/** Something other than the system is a fault of this program, not of the file. */
function faultOf(thrown: unknown): Fault {
  const fault = fileFault(thrown);
  if (fault === null) throw thrown;
  return { fault };
}

/** A plain file that may be opened and is no larger than a list may be; else what keeps it from being read. */
async function listFault(path: string): Promise<string | null> {
  try {
    const facts = await stat(path);
    if (facts.isDirectory()) return "is a folder";
    if (!facts.isFile()) return "is no plain file";
    if (facts.size > MAX_LIST_FILE) return `is larger than ${MAX_LIST_FILE / 1024 / 1024} MB`;
    await using _file = await open(path, "r");
    return null;
  } catch (thrown) {
    return faultOf(thrown).fault;
  }
}

/** The bytes of a list, or what keeps them from being read. */
export async function readList(path: string): Promise<Uint8Array | Fault> {
  const fault = await listFault(path);
  if (fault !== null) return { fault };
  try {
    for (let look = 1; look <= LIST_LOOKS; look++) {
      const bytes = await readUnchanged(path);
      if (bytes !== null) return bytes;
      await Bun.sleep(LIST_PAUSE_MS);
    }
    return { fault: "changes while it is read: write a new file and rename it" };
  } catch (thrown) {
    return faultOf(thrown);
  }
}

/** Null where it was written to meanwhile: half of a list must not count as the whole. */
async function readUnchanged(path: string): Promise<Uint8Array | null> {
  await using file = await open(path, "r");
  const before = await file.stat();
  const bytes = await readUpTo(file, Math.min(before.size, MAX_LIST_FILE));
  const after = await file.stat();
  return bytes.length === after.size && before.mtimeMs === after.mtimeMs ? bytes : null;
}

/** The text of UTF-8 bytes without byte order mark, null where they are none. */
export function utf8(bytes: Uint8Array): string | null {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    return null;
  }
}

function secretOf(file: Read): string | Fault {
  const secret = utf8(file.bytes)?.trim();
  if (secret === "") return { fault: "is empty" };
  if (secret === undefined || !/^[!-~]+$/.test(secret)) {
    return { fault: "must hold one line of printable ASCII characters without spaces" };
  }
  return secret;
}

/**
 * The secret in a file: one line, white space around it taken off, at most 64 KB.
 * Throws SensorError CONFIG_INVALID; its message names the file and never what is in it.
 */
export async function loadSecret(path: string): Promise<string> {
  const file = await readBounded(path, MAX_SECRET);
  const secret = "fault" in file ? file : secretOf(file);
  if (typeof secret === "string") return secret;
  throw new SensorError("CONFIG_INVALID", `the secret file ${printable(path)} ${secret.fault}`);
}

/**
 * Who may read a secret beside its owner, in words; null where it is kept well. A group that this process is in
 * may read it: root:email-sensor 0640 is a good way to keep one. Root cannot tell which group is the sensor's.
 */
function exposure(file: Read): string | null {
  if ((file.mode & 0o004) !== 0) return "may be read by every user of this machine: chmod o-r";
  const groups = [process.getgid?.(), ...(process.getgroups?.() ?? [])];
  const own = process.getuid?.() === 0 || groups.includes(file.gid);
  return (file.mode & 0o040) !== 0 && !own
    ? "may be read by a group that is not the sensor's: chmod g-r"
    : null;
}

export type FileFinding = { readonly problem: string | null; readonly warning: string | null };

const NOTHING: FileFinding = { problem: null, warning: null };

/** What keeps a text from being a template, in the words of the engine; null where it is one. */
export function templateFault(text: string): string | null {
  try {
    compileTemplate(text);
    return null;
  } catch (thrown) {
    return printable(asSensorError(thrown).message.split("\n")[0] ?? "").replace(/^template /, "");
  }
}

/** RFC 7468. OpenSSL's TRUSTED CERTIFICATE is another form, which TLS does not read. */
const PEM_BEGIN = "-----BEGIN CERTIFICATE-----";

function certificateOf(bytes: Buffer | string): X509Certificate | null {
  try {
    return new X509Certificate(bytes);
  } catch {
    return null;
  }
}

/** Looks at every certificate of the file: TLS reads up to one that is damaged, and is silent about it. */
function certificateFinding(bytes: Buffer, now: Date): FileFinding {
  const [before = "", ...blocks] = bytes.toString("latin1").split(new RegExp(`^${PEM_BEGIN}`, "m"));
  if (blocks.length === 0) {
    const isDer = !before.includes("-----BEGIN") && certificateOf(bytes) !== null;
    const how = isDer ? ", it is DER: `openssl x509 -inform der` makes PEM of it" : "";
    return { problem: `holds no certificate in PEM${how}`, warning: null };
  }
  const found = blocks.map((block) => certificateOf(`${PEM_BEGIN}${block}`));
  const numbered = (index: number) => `holds ${found.length} certificates, number ${index + 1}`;
  const damaged = found.indexOf(null);
  if (damaged !== -1) {
    const which = found.length === 1 ? "holds a certificate that" : numbered(damaged);
    return { problem: `${which} is damaged`, warning: null };
  }
  const expired = found.findIndex((each) => each !== null && new Date(each.validTo) < now);
  const end = found[expired]?.validTo;
  if (end === undefined) return NOTHING;
  const which = found.length === 1 ? "" : `${numbered(expired)} `;
  return { problem: null, warning: `${which}expired on ${new Date(end).toISOString().slice(0, 10)}` };
}

function privateKeyFinding(file: Read): FileFinding {
  try {
    createPrivateKey(file.bytes);
    return { problem: null, warning: exposure(file) };
  } catch {
    return { problem: "holds no private key in PEM, or one with a passphrase", warning: null };
  }
}

/** Looks at a file of the configuration as the sensor will use it. */
export async function checkFile(path: string, kind: FileKind, now: Date): Promise<FileFinding> {
  if (kind === "folder" || kind === "written") return NOTHING;
  if (kind === "list") return { problem: await listFault(path), warning: null };
  const file = await readBounded(path, kind === "secret" ? MAX_SECRET : MAX_FILE);
  if ("fault" in file) return { problem: file.fault, warning: null };
  switch (kind) {
    case "secret": {
      const secret = secretOf(file);
      if (typeof secret !== "string") return { problem: secret.fault, warning: null };
      return { problem: null, warning: exposure(file) };
    }
    case "certificate":
      return certificateFinding(file.bytes, now);
    case "private key":
      return privateKeyFinding(file);
    case "image":
      if (file.bytes.length > MAX_LOGO_BYTES) {
        return { problem: `is larger than ${MAX_LOGO_BYTES / 1024} KB`, warning: null };
      }
      return readLogo(file.bytes) === null
        ? { problem: "holds no PNG or JPEG image", warning: null }
        : NOTHING;
    case "template": {
      const text = utf8(file.bytes);
      const fault = text === null ? "not UTF-8 text" : templateFault(text);
      return fault === null ? NOTHING : { problem: `is no good template: ${fault}`, warning: null };
    }
  }
}

/** Where a file lies behind all symbolic links, as far as can be seen, whether it is there already or not. */
export async function realFile(path: string, hops: number = MAX_LINKS): Promise<string> {
  const found = await realpath(path).catch(unlessFile);
  if (found !== null) return found;
  // A link may lead to a file that is made later.
  const target = hops > 0 ? await readlink(path).catch(unlessFile) : null;
  if (target !== null) return realFile(resolve(dirname(path), target), hops - 1);
  const folder = dirname(path);
  return folder === path ? path : join(await realFile(folder, hops), basename(path));
}

function unlessFile(thrown: unknown): null {
  faultOf(thrown);
  return null;
}

/** True where a certificate and a private key, both good for themselves, belong together. */
export async function keyFits(certificatePath: string, keyPath: string): Promise<boolean> {
  const [certificate, key] = await Promise.all([
    readBounded(certificatePath, MAX_FILE),
    readBounded(keyPath, MAX_FILE),
  ]);
  if ("fault" in certificate || "fault" in key) return false;
  return new X509Certificate(certificate.bytes).checkPrivateKey(createPrivateKey(key.bytes));
}
