/**
 * What is wrong with a configuration, where, in words. Values of the file never appear in the words: they may
 * be secrets. Names of keys do, made safe to print.
 */

export type Path = readonly (string | number)[];
/** 1-based; columns count UTF-16 units. */
export type Position = { readonly line: number; readonly column: number };

export type Problem = Position & {
  readonly file: string;
  /** "smtp.listen[0]"; "" for the file as a whole and for bad YAML. */
  readonly key: string;
  readonly message: string;
};

/** Text of the file or the command line as one printable line of bounded length. */
export function printable(text: string, limit = 200): string {
  const escaped = text.replace(
    /[\p{C}\p{Zl}\p{Zp}]/gu,
    (character) => `\\u{${(character.codePointAt(0) ?? 0).toString(16)}}`,
  );
  return escaped.length > limit ? `${escaped.slice(0, limit)}...` : escaped;
}

/** "smtp.listen[0]". Names that are no plain words stand in quotes. */
export function pathText(path: Path): string {
  return path
    .map((part, index) => {
      if (typeof part === "number") return `[${part}]`;
      if (!/^[A-Za-z0-9_-]{1,64}$/.test(part)) return `["${printable(part, 64)}"]`;
      return index === 0 ? part : `.${part}`;
    })
    .join("");
}

/** `file:line:column: path.to.key: message` */
export function formatProblem({ file, line, column, key, message }: Problem, severity = ""): string {
  const where = key === "" ? "" : `${key}: `;
  return `${printable(file, 4096)}:${line}:${column}: ${where}${severity}${message}`;
}
