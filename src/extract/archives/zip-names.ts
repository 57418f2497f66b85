/** Names in zip archives: which charset, and what different programs make of one entry (APPNOTE 6.3.10, appendix D). */
import { crc32 } from "node:zlib";

/** Code page 437 from 0x80 on. */
const CP437 =
  "ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜ¢£¥₧ƒáíóúñÑªº¿⌐¬½¼¡«»░▒▓│┤╡╢╖╕╣║╗╝╜╛┐└┴┬├─┼╞╟╚╔╩╦╠═╬╧╨╤╥╙╘╒╓╫╪┘┌█▄▌▐▀αßΓπΣσµτΦΘΩδ∞φε∩≡±≥≤⌠⌡÷≈°∙·√ⁿ²■\u00a0";
const UTF8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const LENIENT_UTF8 = new TextDecoder("utf-8", { ignoreBOM: true });
const UTF8_FLAG = 0x800;
const UNICODE_PATH = 0x7075;

/** The name of an entry: by its flag, by the Unicode path field, as UTF-8 where it is that, else in code page 437. */
export function zipName(raw: Uint8Array, flags: number, extra: Uint8Array): string {
  const unicode = unicodePath(raw, extra);
  if (unicode !== null) return unicode;
  return plainName(raw, flags);
}

/** The name without regard of the Unicode path field, as many programs read it. */
export function plainName(raw: Uint8Array, flags: number): string {
  if ((flags & UTF8_FLAG) !== 0) return LENIENT_UTF8.decode(raw);
  try {
    return UTF8.decode(raw);
  } catch {
    let name = "";
    for (const byte of raw) name += byte < 0x80 ? String.fromCharCode(byte) : (CP437[byte - 0x80] ?? "");
    return name;
  }
}

/** Info-ZIP Unicode Path (APPNOTE 4.6.9), null where it is absent or was made for another name. */
function unicodePath(raw: Uint8Array, extra: Uint8Array): string | null {
  const field = extraField(extra, UNICODE_PATH);
  if (field === null || field.length < 6 || field[0] !== 1) return null;
  const sum = new DataView(field.buffer, field.byteOffset).getUint32(1, true);
  return sum === crc32(raw) ? LENIENT_UTF8.decode(field.subarray(5)) : null;
}

/** The first extra field of an id, null where there is none. */
export function extraField(extra: Uint8Array, id: number): Uint8Array | null {
  const view = new DataView(extra.buffer, extra.byteOffset, extra.length);
  for (let at = 0; at + 4 <= extra.length; ) {
    const size = view.getUint16(at + 2, true);
    if (view.getUint16(at, true) === id) return extra.subarray(at + 4, at + 4 + size);
    at += 4 + size;
  }
  return null;
}

/** Of the names programs read for one entry those that another program may open differently: other extensions. */
export function distinctNames(names: readonly string[]): readonly string[] {
  const seen = new Map<string, string>();
  for (const name of names) {
    const cut = name.split("\0", 1)[0] ?? "";
    for (const one of [name, cut]) {
      const key = /\.([^./\\]{0,20})$/.exec(one.slice(-21))?.[1]?.toLowerCase() ?? "";
      if (one !== "" && !seen.has(key)) seen.set(key, one);
    }
  }
  return seen.size === 0 ? names.slice(0, 1) : [...seen.values()];
}
