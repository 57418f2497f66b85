/** Finds what a style sheet loads: url(...) and @import. Linear in its length. */

const REFERENCE = /url\(\s{0,16}|@import\s{0,16}(?=["'])/gi;

/** URLs as the style sheet writes them, escapes decoded; relative ones and data: URLs too. */
export function* urlsInCss(css: string): Generator<string> {
  const text = css.includes("\\") ? withoutEscapes(css) : css;
  REFERENCE.lastIndex = 0;
  let position = 0;
  for (;;) {
    REFERENCE.lastIndex = position;
    const match = REFERENCE.exec(text);
    if (match === null) return;
    const start = match.index + match[0].length;
    const quote = text[start];
    const quoted = quote === '"' || quote === "'";
    const found = text.indexOf(quoted ? quote : ")", start + 1);
    const end = found < 0 ? text.length : found;
    position = Math.max(end, start);
    yield text.slice(quoted ? start + 1 : start, end).trim();
  }
}

/** Escapes of CSS: a backslash with up to six hexadecimal digits and a space, or with the character itself. */
function withoutEscapes(css: string): string {
  return css.replace(
    /\\(?:([0-9a-f]{1,6})\s?|(\r\n|[\s\S]))/gi,
    (_, hex: string | undefined, char: string | undefined) => {
      if (hex === undefined) return char === "\n" || char === "\r\n" ? "" : (char ?? "");
      const code = Number.parseInt(hex, 16);
      return code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff) ? "\ufffd" : String.fromCodePoint(code);
    },
  );
}
