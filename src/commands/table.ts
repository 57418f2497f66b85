/**
 * Plain tables for a terminal or a file: columns aligned by what the characters really occupy.
 *
 * In: cells of any text, also hostile; out: lines without control characters, none wider than asked for.
 */

export type Column = {
  readonly title: string;
  /** A column that may be cut to make the table fit; the others keep their width. */
  readonly shrink?: boolean;
  readonly align?: "left" | "right";
};

const GAP = "  ";
const NARROWEST = 8;

/** The text with every control character, line or direction mark shown as "\u{..}". */
export function printable(text: string): string {
  return text.replace(
    /[\p{Cc}\p{Zl}\p{Zp}\p{Cs}\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/gu,
    (char) => `\\u{${(char.codePointAt(0) ?? 0).toString(16)}}`,
  );
}

/** Cuts to `width` terminal columns, by whole characters as people see them; "…" says that it was cut. */
export function fit(text: string, width: number): string {
  if (Bun.stringWidth(text) <= width) return text;
  let kept = "";
  let used = 0;
  for (const { segment } of new Intl.Segmenter(undefined, { granularity: "grapheme" }).segment(text)) {
    const next = Bun.stringWidth(segment);
    if (used + next > width - 1) break;
    kept += segment;
    used += next;
  }
  return `${kept}…`;
}

/** Fills up to `width` terminal columns. */
export function pad(text: string, width: number, align: "left" | "right" = "left"): string {
  const fill = " ".repeat(Math.max(0, width - Bun.stringWidth(text)));
  return align === "left" ? text + fill : fill + text;
}

/**
 * Lays out rows under their titles.
 * `paint` may wrap a finished cell in colour: it is called after the widths are settled.
 */
export function renderTable(
  columns: readonly Column[],
  rows: readonly (readonly string[])[],
  maxWidth: number,
  paint: (cell: string, row: number, column: number) => string = (cell) => cell,
): readonly string[] {
  const cells = rows.map((row) => columns.map((_, index) => printable(row[index] ?? "")));
  const widths = columns.map((column, index) =>
    Math.max(Bun.stringWidth(column.title), ...cells.map((row) => Bun.stringWidth(row[index] ?? ""))),
  );

  let excess = widths.reduce((sum, width) => sum + width, 0) + GAP.length * (columns.length - 1) - maxWidth;
  while (excess > 0) {
    const widest = columns.reduce<number | null>((best, column, index) => {
      if (column.shrink !== true || (widths[index] ?? 0) <= NARROWEST) return best;
      return best === null || (widths[index] ?? 0) > (widths[best] ?? 0) ? index : best;
    }, null);
    if (widest === null) break;
    widths[widest] = (widths[widest] ?? 0) - 1;
    excess -= 1;
  }

  const layOut = (row: readonly string[], finish: (cell: string, column: number) => string) =>
    columns
      .map((column, index) => {
        const width = widths[index] ?? 0;
        return finish(pad(fit(row[index] ?? "", width), width, column.align), index);
      })
      .join(GAP)
      .trimEnd();

  return [
    layOut(
      columns.map((column) => column.title),
      (cell) => cell,
    ),
    widths.map((width) => "-".repeat(width)).join(GAP),
    ...cells.map((row, rowIndex) => layOut(row, (cell, column) => paint(cell, rowIndex, column))),
  ];
}
