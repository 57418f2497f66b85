/**
 * Decoders of the other transfer encodings of mails: quoted-printable and its broken forms, uuencode, xxencode,
 * yEnc, BinHex 4.0, Ascii85 and UTF-7. In go bytes, out come bytes; nothing here throws, all work is linear.
 */

const LF = 0x0a;
const CR = 0x0d;
const EQUALS = 0x3d;
const SPACE = 0x20;
const TAB = 0x09;

/** What is done with an escape that is none. */
export type QuotedWay =
  /** It stays in the text. */
  | "keep"
  /** Its equals sign, and blanks after it, are dropped. */
  | "sign"
  /** Its equals sign and the two characters after it are dropped. */
  | "whole"
  /** An equals sign with one hex digit is dropped, then the text is read. */
  | "half";

export const QUOTED_WAYS: readonly QuotedWay[] = ["sign", "whole", "half"];

/** Decodes quoted-printable, to at most `limit` bytes. `clean`: no escape was broken. */
export function decodeQuoted(
  body: Uint8Array,
  way: QuotedWay,
  limit: number = Number.POSITIVE_INFINITY,
): { readonly bytes: Uint8Array; readonly clean: boolean } {
  const most = Math.min(limit, body.length);
  const out = new Uint8Array(most);
  let written = 0;
  /** Blanks before this place are not blanks at the end of a line: they were escaped, or belong to others. */
  let fixed = 0;
  let clean = true;
  const length = body.length;
  for (let at = 0; at < length && written < most; at++) {
    const byte = body[at] ?? 0;
    if (byte === LF || byte === CR) {
      while (written > fixed && isBlank(out[written - 1] ?? 0)) written--;
      out[written++] = byte;
      fixed = written;
      continue;
    }
    if (byte !== EQUALS) {
      out[written++] = byte;
      continue;
    }
    const start = way === "half" ? afterHalves(body, at + 1) : at + 1;
    let next = start;
    while (next < length && isBlank(body[next] ?? 0)) next++;
    if (next >= length || body[next] === LF || body[next] === CR) {
      at = body[next] === CR && body[next + 1] === LF ? next + 1 : next;
      fixed = written;
      continue;
    }
    const high = hexOf(body[start] ?? 0);
    const low = hexOf(body[start + 1] ?? 0);
    if (high >= 0 && low >= 0) {
      out[written++] = (high << 4) | low;
      fixed = written;
      at = start + 1;
      continue;
    }
    clean = false;
    if (way === "keep") out[written++] = byte;
    else if (way === "sign") at = next - 1;
    else if (way === "whole") at += 2;
    else at = start - 1 + (high >= 0 ? 1 : 0);
  }
  return { bytes: out.subarray(0, written), clean };
}

/** Passes over an equals sign with one hex digit, as often as it stands there. */
function afterHalves(body: Uint8Array, at: number): number {
  while (body[at] === EQUALS && hexOf(body[at + 1] ?? 0) >= 0 && hexOf(body[at + 2] ?? 0) < 0) {
    at += 2;
  }
  return at;
}

function isBlank(byte: number): boolean {
  return byte === SPACE || byte === TAB;
}

function hexOf(byte: number): number {
  if (byte >= 0x30 && byte <= 0x39) return byte - 0x30;
  const letter = byte | 0x20;
  return letter >= 0x61 && letter <= 0x66 ? letter - 0x57 : -1;
}

/** A file that a text holds in itself. Offsets are of the bytes it was read from. */
export type EmbeddedFile = {
  readonly name: string | null;
  readonly bytes: Uint8Array;
  readonly start: number;
  readonly end: number;
  /** True where it unpacks to more than is given. */
  readonly cut?: boolean;
};

const XX_ALPHABET = "+-0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const XX: Uint8Array = tableOf(XX_ALPHABET);
const UU: Uint8Array = uuTable();

function tableOf(alphabet: string): Uint8Array {
  const table = new Uint8Array(256).fill(255);
  for (let at = 0; at < alphabet.length; at++) table[alphabet.charCodeAt(at)] = at;
  return table;
}

function uuTable(): Uint8Array {
  const table = new Uint8Array(256).fill(255);
  for (let byte = 0x20; byte <= 0x60; byte++) table[byte] = (byte - 0x20) & 63;
  return table;
}

/** What is set aside for a file at first. */
const FIRST_SIZE = 1024;
/** Bytes that a line tells at most, in whole groups. */
const MAX_UU_LINE = 66;
/** Lines in a row that are none of the file before it counts as ended. */
const MAX_JUNK_LINES = 2;

/**
 * Decodes the lines of a uuencoded or xxencoded file from `start` on, to its end line or to where the lines are of
 * another kind. `quote`: bytes that stand before every line.
 */
export function decodeUu(raw: Buffer, start: number, end: number, quote = 0): EmbeddedFile | null {
  const table = alphabetAt(raw, start + quote, end);
  if (table === null) return null;
  let out: Uint8Array<ArrayBuffer> = new Uint8Array(FIRST_SIZE);
  let written = 0;
  let junk = 0;
  let last = start;
  for (let at = start; at < end && junk <= MAX_JUNK_LINES; ) {
    const lf = raw.indexOf(LF, at);
    const next = lf === -1 || lf >= end ? end : lf + 1;
    let stop = next;
    while (stop > at && (raw[stop - 1] === LF || raw[stop - 1] === CR)) stop--;
    let first = Math.min(at + quote, stop);
    at = next;
    if (isEnd(raw, first, stop)) {
      last = next;
      break;
    }
    // A dot at the beginning of a line is doubled on the way, and sometimes stays doubled.
    if (raw[first] === 0x2e && raw[first + 1] === 0x2e && !fits(raw, first, stop, table)) first++;
    if (!fits(raw, first, stop, table)) {
      if (stop > first) junk++;
      continue;
    }
    junk = 0;
    if (written + MAX_UU_LINE > out.length) out = grown(out, out.length * 2);
    written = decodeUuLine(raw, first, stop, table, out, written);
    last = next;
  }
  return written === 0 ? null : { name: null, bytes: out.subarray(0, written), start, end: last };
}

/** The alphabet that the first line with something on it is written in. */
function alphabetAt(raw: Buffer, start: number, end: number): Uint8Array | null {
  for (let at = start, lines = 0; at < end && lines < 4; lines++) {
    const lf = raw.indexOf(LF, at);
    const next = lf === -1 || lf >= end ? end : lf;
    const stop = raw[next - 1] === CR ? next - 1 : next;
    if (fits(raw, at, stop, UU)) return UU;
    if (fits(raw, at, stop, XX)) return XX;
    at = next + 1;
  }
  return null;
}

function isEnd(raw: Buffer, start: number, stop: number): boolean {
  return stop - start >= 3 && stop - start <= 4 && raw.toString("latin1", start, start + 3) === "end";
}

/** True where a line has the length that its first character tells, give or take what mail programs cut or add. */
function fits(raw: Buffer, start: number, stop: number, table: Uint8Array): boolean {
  const length = stop - start;
  const count = table[raw[start] ?? 0] ?? 255;
  if (length < 2 || length > 100 || count === 255 || count === 0) return false;
  const expected = Math.ceil(count / 3) * 4;
  // The zeros at the end of a line are spaces, which get cut; the last group may be short.
  if (length - 1 > expected + 2 || length - 1 < Math.min(expected - 3, expected >> 1)) return false;
  for (let at = start; at < stop; at++) if (table[raw[at] ?? 0] === 255) return false;
  return true;
}

function decodeUuLine(
  raw: Buffer,
  start: number,
  stop: number,
  table: Uint8Array,
  out: Uint8Array,
  from: number,
): number {
  const count = table[raw[start] ?? 0] ?? 0;
  const sextet = (at: number): number => (at < stop ? (table[raw[at] ?? 0] ?? 0) : 0);
  let written = from;
  for (let at = start + 1, left = count; left > 0; at += 4, left -= 3) {
    const bits = (sextet(at) << 18) | (sextet(at + 1) << 12) | (sextet(at + 2) << 6) | sextet(at + 3);
    out[written++] = bits >> 16;
    if (left > 1) out[written++] = (bits >> 8) & 0xff;
    if (left > 2) out[written++] = bits & 0xff;
  }
  return written;
}

/** Decodes the yEnc file whose `=ybegin` line stands at `start`. */
export function decodeYenc(raw: Buffer, start: number, end: number): EmbeddedFile {
  const lineEnd = lineEndAt(raw, start, end);
  const name = /\bname=([^\r\n]{1,255})/.exec(
    raw.toString("latin1", start, Math.min(lineEnd, start + 600)),
  )?.[1];
  let at = lineEnd;
  const part = raw.toString("latin1", at, Math.min(at + 8, end)).trimStart();
  if (part.startsWith("=ypart")) at = lineEndAt(raw, at + 1, end);
  const found = raw.indexOf("\n=yend", at);
  const stop = found === -1 || found > end ? end : found;
  const out = new Uint8Array(Math.max(0, stop - at));
  let written = 0;
  for (; at < stop; at++) {
    let byte = raw[at] ?? 0;
    if (byte === LF || byte === CR) continue;
    if (byte === EQUALS) {
      byte = (raw[++at] ?? 0) - 64;
    }
    out[written++] = (byte - 42) & 0xff;
  }
  return {
    name: name?.trim() ?? null,
    bytes: out.subarray(0, written),
    start,
    end: found === stop ? lineEndAt(raw, stop + 1, end) : stop,
  };
}

function lineEndAt(raw: Buffer, at: number, end: number): number {
  const lf = raw.indexOf(LF, at);
  return lf === -1 || lf > end ? end : lf;
}

const BINHEX_ALPHABET = "!\"#$%&'()*+,-012345689@ABCDEFGHIJKLMNPQRSTUVXYZ[`abcdefhijklmpqr";
const BINHEX: Uint8Array = tableOf(BINHEX_ALPHABET);
const RUN_MARK = 0x90;
const COLON = 0x3a;

/** A BinHex file unpacks to at most this multiple of its characters, and to this much more. */
const MAX_BINHEX_RATIO = 16;
const MAX_BINHEX_MORE = 1024 * 1024;

/** Decodes the data fork of the BinHex 4.0 file that begins with a colon at or after `start`. */
export function decodeBinhex(raw: Buffer, start: number, end: number): EmbeddedFile | null {
  let at = raw.indexOf(COLON, start);
  if (at === -1 || at >= end) return null;
  at++;
  const first = at;
  let out: Uint8Array<ArrayBuffer> = new Uint8Array(FIRST_SIZE);
  let written = 0;
  let cut = false;
  let bits = 0;
  let held = 0;
  let mark = false;
  const put = (byte: number, times: number): void => {
    if (written + times > (at - first) * MAX_BINHEX_RATIO + MAX_BINHEX_MORE) {
      cut = true;
      return;
    }
    if (written + times > out.length) out = grown(out, (written + times) * 2);
    out.fill(byte, written, written + times);
    written += times;
  };
  for (; at < end && !cut; at++) {
    const byte = raw[at] ?? 0;
    if (byte === COLON) break;
    const sextet = BINHEX[byte] ?? 255;
    if (sextet === 255) {
      if (byte === LF || byte === CR || isBlank(byte)) continue;
      break;
    }
    bits = ((bits << 6) | sextet) & 0xff_ffff;
    held += 6;
    if (held < 8) continue;
    held -= 8;
    const value = (bits >> held) & 0xff;
    if (mark) {
      mark = false;
      if (value === 0) put(RUN_MARK, 1);
      else if (written > 0) put(out[written - 1] ?? 0, value - 1);
    } else if (value === RUN_MARK) mark = true;
    else put(value, 1);
  }
  const file = forkOf(out.subarray(0, written), start, at);
  return file === null ? null : { ...file, cut };
}

function grown(bytes: Uint8Array, size: number): Uint8Array<ArrayBuffer> {
  const larger = new Uint8Array(size);
  larger.set(bytes);
  return larger;
}

/** Length and name, version, type and creator, flags, length of both forks, checksum; then the data fork. */
function forkOf(unpacked: Uint8Array, start: number, end: number): EmbeddedFile | null {
  const nameLength = unpacked[0] ?? 0;
  const data = nameLength + 22;
  if (nameLength > 63 || unpacked.length <= data) return null;
  const view = Buffer.from(unpacked.buffer, unpacked.byteOffset, unpacked.length);
  const length = view.readUInt32BE(nameLength + 12);
  const name = view.toString("latin1", 1, 1 + nameLength);
  return { name: name === "" ? null : name, bytes: unpacked.subarray(data, data + length), start, end };
}

/** Decodes Ascii85 between `start` and `end`, without its marks. Null where it is something else. */
export function decodeAscii85(raw: Buffer, start: number, end: number): Uint8Array | null {
  const out = new Uint8Array((end - start) * 4 + 4);
  let written = 0;
  let value = 0;
  let count = 0;
  for (let at = start; at < end; at++) {
    const byte = raw[at] ?? 0;
    if (byte <= SPACE) continue;
    if (byte === 0x7a && count === 0) {
      written += 4;
      continue;
    }
    if (byte < 0x21 || byte > 0x75) return null;
    value = value * 85 + (byte - 0x21);
    if (++count < 5) continue;
    written = putWord(out, written, value, 4);
    value = 0;
    count = 0;
  }
  if (count > 1) {
    for (let more = count; more < 5; more++) value = value * 85 + 84;
    written = putWord(out, written, value, count - 1);
  }
  return out.subarray(0, written);
}

function putWord(out: Uint8Array, from: number, value: number, bytes: number): number {
  for (let index = 0; index < bytes; index++) {
    out[from + index] = Math.floor(value / 256 ** (3 - index)) & 0xff;
  }
  return from + bytes;
}

/** Decodes UTF-7 (RFC 2152) to UTF-8. */
export function decodeUtf7(body: Buffer): Uint8Array {
  const text = body.toString("latin1", 0, body.length);
  return Buffer.from(
    text.replace(/\+([A-Za-z0-9+/]*)-?/g, (_, shifted: string) => (shifted === "" ? "+" : utf16Of(shifted))),
  );
}

function utf16Of(base64: string): string {
  const bytes = Buffer.from(base64, "base64");
  return bytes
    .subarray(0, bytes.length & ~1)
    .swap16()
    .toString("utf16le");
}
