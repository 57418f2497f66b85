/** Markdown as the generated documents need it. */

/** A table; `|` in cells is escaped, also inside code. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) =>
    `${cells.map((cell) => (cell === "" ? "| " : `| ${cell.replaceAll("|", "\\|")} `)).join("")}|`;
  return [line(head), line(head.map(() => "---")), ...rows.map(line)].join("\n");
}
