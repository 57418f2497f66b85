/** Tells the literals, comments and patterns of a script from its code. Linear in its length; nothing throws. */

type Literal = { readonly raw: string; readonly end: number };

/** Tells literals and comments from the code between them. Linear when asked for rising places. */
export function createLexer(code: string, onCode: (code: string) => void) {
  let gap = 0;
  let nextLine = -1;
  let commentsEnd = true;
  /** Up to here no literal with this quote ends. */
  const endless = { '"': -1, "'": -1, "`": -1 };

  const flush = (end: number): void => {
    if (end - gap < 10) return;
    const text = code.slice(gap, end);
    if (text.includes("://")) onCode(text);
  };
  const endOfLiteral = (start: number, quote: '"' | "'" | "`"): number => {
    if (start < endless[quote]) return -1;
    if (quote !== "`" && nextLine <= start) nextLine = lineEnd(code, start);
    const limit = quote === "`" ? code.length : nextLine;
    for (
      let end = code.indexOf(quote, start + 1);
      end >= 0 && end < limit;
      end = code.indexOf(quote, end + 1)
    ) {
      let slashes = 0;
      while (code[end - 1 - slashes] === "\\") slashes++;
      if (slashes % 2 === 0) return end;
    }
    endless[quote] = limit;
    return -1;
  };

  return {
    /** The literal that begins here. */
    literal: (at: number): Literal | null => {
      const quote = code[at];
      if (quote !== '"' && quote !== "'" && quote !== "`") return null;
      const end = endOfLiteral(at, quote);
      if (end < 0) return null;
      flush(at);
      gap = end + 1;
      return { raw: code.slice(at + 1, end), end: end + 1 };
    },
    /** Where the comment ends that begins here. */
    comment: (at: number): number | null => {
      if (code[at] !== "/") return null;
      if (code[at + 1] === "/") {
        const end = code.indexOf("\n", at);
        return end < 0 ? code.length : end;
      }
      if (code[at + 1] !== "*" || !commentsEnd) return null;
      const end = code.indexOf("*/", at + 2);
      commentsEnd = end >= 0;
      return commentsEnd ? end + 2 : null;
    },
    finish: () => flush(code.length),
  };
}

/** Where the line ends, as far as literals are concerned: a backslash carries them over to the next one. */
function lineEnd(code: string, from: number): number {
  for (let at = code.indexOf("\n", from); at >= 0; at = code.indexOf("\n", at + 1)) {
    if (code[at - 1] !== "\\" && !(code[at - 1] === "\r" && code[at - 2] === "\\")) return at;
  }
  return code.length;
}

/** Characters of the longest pattern that is told from two divisions. */
const MAX_PATTERN = 256;

export function patternEnd(code: string, start: number): number {
  let inClass = false;
  const limit = Math.min(code.length, start + MAX_PATTERN);
  for (let at = start + 1; at < limit; at++) {
    const char = code[at];
    if (char === "\\") at++;
    else if (char === "\n" || char === "\r") return -1;
    else if (char === "[") inClass = true;
    else if (char === "]") inClass = false;
    else if (char === "/" && !inClass) return at + 1;
  }
  return -1;
}

const ESCAPE = /\\(?:x([0-9a-f]{2})|u([0-9a-f]{4})|u\{([0-9a-f]{1,6})\}|([0-3]?[0-7]{1,2})|\r\n|([\s\S]))/gi;
const LETTERS: Readonly<Record<string, string>> = {
  n: "\n",
  r: "\r",
  t: "\t",
  b: "\b",
  f: "\f",
  v: "\v",
  "\n": "",
};

/** A literal without its escapes. */
export function literalText(raw: string): string {
  if (!raw.includes("\\")) return raw;
  return raw.replace(
    ESCAPE,
    (_, hex?: string, four?: string, braced?: string, octal?: string, char?: string) => {
      const digits = hex ?? four ?? braced;
      if (digits !== undefined) {
        const code = Number.parseInt(digits, 16);
        return braced === undefined ? String.fromCharCode(code) : fromCodes([code]);
      }
      if (octal !== undefined) return String.fromCharCode(Number.parseInt(octal, 8));
      return char === undefined ? "" : (LETTERS[char] ?? char);
    },
  );
}

export function fromCodes(codes: readonly number[]): string {
  const pieces: string[] = [];
  for (let at = 0; at < codes.length; at += 4096) {
    const some = codes
      .slice(at, at + 4096)
      .map((code) => (code >= 0 && code <= 0x10ffff ? Math.trunc(code) : 0xfffd));
    pieces.push(String.fromCodePoint(...some));
  }
  return pieces.join("");
}
