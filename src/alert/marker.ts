/**
 * The marker by which the sensor knows its own alerts when the mail server copies them to it.
 *
 * `X-Email-Sensor-Alert: v=1; t=SECONDS; b=BODY; s=SIGNATURE`. BODY is the SHA-256 of the body, SIGNATURE an HMAC-SHA-256
 * over the time, the body's hash and the header fields that are shown, with a secret of the installation. Whoever
 * copies the marker to another content, adds or changes a field that is shown, or repeats it after a week, has a mail
 * like any other. Header fields and body are compared in the relaxed forms of DKIM (RFC 6376 section 3.4), which
 * survive mail servers that fold lines again.
 */
import { createHash, createHmac, randomBytes, timingSafeEqual } from "node:crypto";
import { closeSync, fsyncSync, linkSync, openSync, readFileSync, unlinkSync, writeSync } from "node:fs";
import { join } from "node:path";
import { asSensorError, SensorError } from "../errors.ts";
import { type Field, MAX_HEADER_BYTES, relaxedBody, splitMail } from "./canonical.ts";

export const ALERT_HEADER = "X-Email-Sensor-Alert";

/** Alerts are smaller: a mail beyond this is none. */
export const MAX_ALERT_BYTES = 512 * 1024;
/** Mail servers give up after five days (RFC 5321 section 4.5.4.1). */
const MAX_AGE_MS = 7 * 86_400_000;
/** Clocks of two machines. */
const MAX_AHEAD_MS = 3_600_000;
const SECRET_FILE = "alert.key";
const SECRET_BYTES = 32;

/** Fields that are shown or say how the body is read: each as often as it was when the alert was made. */
export const SIGNED_FIELDS = [
  "from",
  "sender",
  "reply-to",
  "to",
  "cc",
  "subject",
  "date",
  "message-id",
  "mime-version",
  "content-type",
  "content-transfer-encoding",
  "auto-submitted",
];

/** Other fields that mail servers add on the way. Any other field is not from them. */
const ADDED_ON_THE_WAY =
  /^(received|return-path|delivered-to|dkim-signature|authentication-results|received-spf|arc-[a-z-]+|x-[a-z0-9-]+)$/;
/** A line of blanks in a header: it goes on there (RFC 5322), or ends there for readers that are not strict. */
const BLANK_LINE = /\r\n[ \t]+\r\n/;
/** Lines that every reader takes for the same ones: no bare CR or LF, no other control, nothing but ASCII. */
const PLAIN_LINES = /^(?:[\t\x20-\x7e]*\r\n)*[\t\x20-\x7e]*$/;

/** The secret of the installation, made where there is none: 32 bytes in `alert.key`, for its owner alone. */
export function alertSecret(spoolFolder: string): Buffer {
  const path = join(spoolFolder, SECRET_FILE);
  try {
    return readSecret(path) ?? makeSecret(path);
  } catch (thrown) {
    throw new SensorError("SPOOL_BROKEN", `${path}: ${asSensorError(thrown).message}`, { cause: thrown });
  }
}

/** The same where it is there and may be read, else null: makes nothing. */
export function knownSecret(spoolFolder: string): Buffer | null {
  try {
    return readSecret(join(spoolFolder, SECRET_FILE));
  } catch {
    return null;
  }
}

function readSecret(path: string): Buffer | null {
  try {
    const secret = Buffer.from(readFileSync(path, "utf8").trim(), "hex");
    if (secret.length !== SECRET_BYTES) throw new Error("is no secret of this sensor: delete it");
    return secret;
  } catch (thrown) {
    if (thrown instanceof Error && "code" in thrown && thrown.code === "ENOENT") return null;
    throw thrown;
  }
}

/** Written whole beside its place and then put there: a crash leaves none or a whole one. */
function makeSecret(path: string): Buffer {
  const secret = randomBytes(SECRET_BYTES);
  const draft = `${path}.${process.pid}`;
  const file = openSync(draft, "w", 0o600);
  try {
    writeSync(file, `${secret.toString("hex")}\n`);
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
  try {
    linkSync(draft, path);
    return secret;
  } catch (thrown) {
    const made = readSecret(path);
    if (made === null) throw thrown;
    return made;
  } finally {
    unlinkSync(draft);
  }
}

/** A message with its marker as the first field. `message` has CRLF line ends and a header. */
export function markAlert(message: Uint8Array, secret: Uint8Array, now: number): Buffer {
  const bytes = Buffer.from(message.buffer, message.byteOffset, message.byteLength);
  const { fields, body } = splitMail(bytes);
  const time = Math.floor(now / 1000);
  const hash = bodyHash(body);
  const marker = `${ALERT_HEADER}: v=1; t=${time};\r\n b=${hash};\r\n s=${signature(fields, time, hash, secret).toString("hex")}\r\n`;
  return Buffer.concat([Buffer.from(marker, "latin1"), bytes]);
}

/** True for an alert of this installation, unchanged in what it shows and not too old. */
export function isOwnAlert(message: Uint8Array, secret: Uint8Array, now: number): boolean {
  if (message.byteLength > MAX_ALERT_BYTES) return false;
  const bytes = Buffer.from(message.buffer, message.byteOffset, message.byteLength);
  const head = bytes.subarray(0, MAX_HEADER_BYTES);
  // Most mails end here.
  if (!/^x-email-sensor-alert:/im.test(head.toString("latin1"))) return false;
  if (!PLAIN_LINES.test(bytes.toString("latin1"))) return false;
  if (BLANK_LINE.test(head.toString("latin1").split("\r\n\r\n", 1)[0] ?? "")) return false;
  const { fields, body } = splitMail(bytes);
  if (fields.some(({ name }) => !SIGNED_FIELDS.includes(name) && !ADDED_ON_THE_WAY.test(name))) return false;
  const markers = fields.filter(({ name }) => name === ALERT_HEADER.toLowerCase());
  const match = /^v=1; t=(\d{1,12}); b=([0-9a-f]{64}); s=([0-9a-f]{64})$/.exec(markers[0]?.value ?? "");
  if (markers.length !== 1 || match === null) return false;
  const [, time = "", hash = "", given = ""] = match;
  const age = now - Number(time) * 1000;
  if (age > MAX_AGE_MS || age < -MAX_AHEAD_MS) return false;
  if (bodyHash(body) !== hash) return false;
  return timingSafeEqual(Buffer.from(given, "hex"), signature(fields, Number(time), hash, secret));
}

function bodyHash(body: Buffer): string {
  return createHash("sha256").update(relaxedBody(body), "latin1").digest("hex");
}

function signature(fields: readonly Field[], time: number, hash: string, secret: Uint8Array): Buffer {
  const shown = SIGNED_FIELDS.map((name) => [
    name,
    ...fields.filter((field) => field.name === name).map(({ value }) => value),
  ]);
  return createHmac("sha256", secret)
    .update(JSON.stringify(["email-sensor alert 1", time, hash, shown]))
    .digest();
}
