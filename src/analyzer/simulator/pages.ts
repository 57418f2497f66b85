/**
 * The pages for people behind the web links of the simulator: what it decided about a sample, and why.
 *
 * All text is escaped, and the page may load nothing and run nothing (Content-Security-Policy).
 */
import { showText } from "../../text.ts";
import type { Sample, Store } from "./store.ts";

const MAX_SHOWN = 2000;

const HEADERS = {
  "content-type": "text/html; charset=utf-8",
  "content-security-policy":
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  "x-content-type-options": "nosniff",
  "referrer-policy": "no-referrer",
  "cache-control": "no-store",
};

const ESCAPES: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&#39;",
};

/** One line of text for HTML: what hides or reorders is replaced, special characters become entities. */
export function escapeHtml(text: string): string {
  return showText(text, MAX_SHOWN).replace(/[&<>"']/g, (character) => ESCAPES[character] ?? "");
}

function page(title: string, rows: readonly (readonly [string, string])[]): string {
  return `<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>${escapeHtml(title)} - analyzer simulator</title>
<style>body{font:16px/1.5 sans-serif;margin:2rem;max-width:60rem}th{text-align:left;vertical-align:top;padding-right:2rem}td{overflow-wrap:anywhere}strong{color:#a00}</style>
</head>
<body>
<p><strong>This is a simulator, not a VMRay Analyzer.</strong> Nothing was analysed: the result follows fixed rules.</p>
<h1>${escapeHtml(title)}</h1>
<table>
${rows.map(([name, value]) => `<tr><th>${escapeHtml(name)}</th><td>${escapeHtml(value)}</td></tr>`).join("\n")}
</table>
</body>
</html>
`;
}

/** The page of a sample; a short 404 page where there is none. */
export function samplePage(sample: Sample | undefined, store: Store): Response {
  if (sample === undefined) {
    return new Response(page("No such sample", []), { status: 404, headers: HEADERS });
  }
  const finished = sample.submissions.some((submission) => store.stage(submission) === "finished");
  const { outcome, threatNames, why } = sample.judgement;
  const verdict = outcome === "error" ? "none: the analysis ended with errors" : outcome;
  const rows: (readonly [string, string])[] = [
    ["Verdict", finished ? verdict : "not finished yet"],
    ...(finished ? ([["Why", why]] as const) : []),
    ...(finished && threatNames.length > 0 ? ([["Threat names", threatNames.join(", ")]] as const) : []),
    ["Type", sample.type],
    ...(sample.url === null ? ([["File name", sample.filename]] as const) : ([["URL", sample.url]] as const)),
    ["Size", `${sample.size} bytes`],
    ["SHA-256", sample.sha256],
    ["Submissions", String(sample.submissions.length)],
  ];
  return new Response(page(`Sample ${sample.id}`, rows), { headers: HEADERS });
}
