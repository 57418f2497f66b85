import type { Inner } from "../../../../src/extract/reading.ts";
import { createUrlCollector, type HtmlOptions } from "../../../../src/extract/urls/collector.ts";
import type { UrlFlag } from "../../../../src/extract/urls/flags.ts";

/** The URLs of one text with their sources, the flags, and the files that came out. */
export function found(kind: "text" | "html" | "script", input: string, options: HtmlOptions = {}) {
  const flags = new Set<UrlFlag>();
  const files: Inner[] = [];
  const collector = createUrlCollector({ max: 500, recipients: [], onFlag: (flag) => flags.add(flag) });
  const onData = (file: Inner): void => {
    files.push(file);
  };
  if (kind === "text") collector.addText(input, "text");
  else if (kind === "html") collector.addHtml(input, "html", { onData, ...options });
  else collector.addScript(input, "script", { onData });
  const urls = collector.found();
  return {
    urls: urls.map(({ normalized }) => normalized),
    sources: Object.fromEntries(urls.map(({ normalized, sources }) => [normalized, sources.join(" ")])),
    flags: [...flags],
    files: files.map(({ name, declared, bytes }) => ({
      name,
      declared,
      text: Buffer.from(bytes).toString("latin1"),
    })),
  };
}

export const base64 = (text: string): string => Buffer.from(text, "latin1").toString("base64");
