/**
 * Reads calendars (iCalendar, RFC 5545) and business cards (vCard, RFC 6350 and the older ones): the URLs of their
 * properties, the texts people read, and the files they carry. What is no property of this shape is text.
 */
import { createReading, type Limits, type Reading } from "../reading.ts";
import { dataUrl } from "./decoding.ts";

type Property = {
  readonly name: string;
  readonly parameters: ReadonlyMap<string, string>;
  readonly value: string;
};

/** Properties and parameters that hold a URL. */
const URL_PROPERTIES: ReadonlySet<string> = new Set([
  "url",
  "attach",
  "conference",
  "source",
  "image",
  "tzurl",
  "photo",
  "logo",
  "sound",
  "key",
  "fburl",
  "caluri",
  "caladruri",
  "member",
  "related",
  "structured-data",
  "x-google-conference",
  "x-microsoft-skypeteamsmeetingurl",
  "x-microsoft-onlinemeetingexternallink",
]);
const URL_PARAMETERS: readonly string[] = ["altrep", "dir", "x-url"];
const WEB = /^\s*(?:https?|ftp):/i;

export function readCalendar(text: string, limits: Limits): Reading {
  const reading = createReading(limits);
  const source = /^\s*BEGIN:VCARD/i.test(text.slice(0, 256)) ? "vcard" : "calendar";
  const plain: string[] = [];
  for (const line of unfolded(text)) {
    const property = parseProperty(line);
    if (property === null) {
      plain.push(line);
      continue;
    }
    const { name, parameters, value } = property;
    for (const parameter of URL_PARAMETERS) {
      const url = parameters.get(parameter);
      if (url !== undefined && WEB.test(url)) reading.url(url.trim(), source);
    }
    const bytes = carriedBytes(property);
    if (bytes !== null) {
      const fileName = parameters.get("x-filename") ?? parameters.get("filename") ?? null;
      const declared = bytes.declared ?? mediaType(parameters);
      if (!reading.inner({ name: fileName, declared, bytes: bytes.bytes })) break;
    } else if (URL_PROPERTIES.has(name) && WEB.test(value)) {
      if (!reading.url(value.replaceAll(/\\([,;\\])/g, "$1").trim(), source)) break;
    } else if (name === "x-alt-desc" || parameters.get("fmttype")?.toLowerCase() === "text/html") {
      if (!reading.text({ kind: "html", text: unescapedText(value), source })) break;
    } else {
      plain.push(unescapedText(value));
    }
  }
  if (plain.length > 0) reading.text({ kind: "text", text: plain.join("\n"), source });
  return reading.done();
}

/** Lines, each with those that go on after it: a space or tab begins them, or "=" ends the one before (vCard 2.1). */
function* unfolded(text: string): Generator<string> {
  let pieces: string[] = [];
  let soft = false;
  for (const line of text.split(/\r\n|\n|\r/)) {
    if (soft) {
      pieces.push(line.replace(/=$/, ""));
    } else if (line.startsWith(" ") || line.startsWith("\t")) {
      pieces.push(line.slice(1));
      continue;
    } else {
      if (pieces.length > 0) yield pieces.join("");
      pieces = [line];
      if (line.endsWith("=") && isQuotedPrintable(line)) pieces = [line.slice(0, -1)];
    }
    soft = line.endsWith("=") && (soft || isQuotedPrintable(line));
  }
  if (pieces.length > 0) yield pieces.join("");
}

function isQuotedPrintable(line: string): boolean {
  return /quoted-printable/i.test(line.slice(0, 256).split(":", 1)[0] ?? "");
}

function parseProperty(line: string): Property | null {
  const head = /^(?:[\w-]{1,64}\.)?([\w-]{1,64})(?=[;:])/.exec(line);
  if (head === null) return null;
  const parameters = new Map<string, string>();
  const parameter = /;([\w-]{1,64})(?:=("[^"]*"|[^";:,]*(?:,(?:"[^"]*"|[^";:,]*))*))?/y;
  let at = head[0].length;
  for (;;) {
    parameter.lastIndex = at;
    const found = parameter.exec(line);
    if (found === null) break;
    at = parameter.lastIndex;
    // A bare word is an encoding in vCard 2.1: PHOTO;BASE64:...
    const [, name = "", value] = found;
    if (value === undefined) parameters.set("encoding", name);
    else parameters.set(name.toLowerCase(), value.replaceAll('"', ""));
  }
  if (line[at] !== ":") return null;
  const value = line.slice(at + 1);
  const quoted = parameters.get("encoding")?.toLowerCase() === "quoted-printable";
  return {
    name: (head[1] ?? "").toLowerCase(),
    parameters,
    value: quoted ? fromQuotedPrintable(value) : value,
  };
}

function fromQuotedPrintable(value: string): string {
  return value.replace(/(?:=[0-9a-f]{2})+/gi, (run) =>
    Buffer.from(run.replaceAll("=", ""), "hex").toString("utf8"),
  );
}

function carriedBytes({
  parameters,
  value,
}: Property): { declared: string | null; bytes: Uint8Array } | null {
  if (/^\s*data:/i.test(value)) return dataUrl(value.replaceAll(/\\([,;])/g, "$1"));
  const encoding = parameters.get("encoding")?.toLowerCase();
  if (encoding !== "base64" && encoding !== "b") return null;
  return { declared: null, bytes: Buffer.from(value.replace(/[^A-Za-z0-9+/_-]+/g, ""), "base64") };
}

function mediaType(parameters: ReadonlyMap<string, string>): string | null {
  const type = parameters.get("fmttype") ?? parameters.get("mediatype") ?? "";
  return /^[\w.+-]+\/[\w.+-]+$/.test(type) ? type.toLowerCase() : null;
}

/** A text without its escapes: \n is a line break, a backslash before another character is that character. */
function unescapedText(value: string): string {
  return value.includes("\\")
    ? value.replace(/\\(.)/g, (_, char: string) => (char === "n" || char === "N" ? "\n" : char))
    : value;
}
