/**
 * The templates of alerts: Liquid text in, a renderer of subject, text or HTML out.
 *
 * The variables are AlertFacts. Every value is escaped for what it goes into, and no filter turns that off, so that a
 * customer's template is as safe as the built-in one. The engine has no files, and limits on time and memory. Throws
 * CONFIG_INVALID where a template is none, TEMPLATE_FAILED where it fails on an alert.
 */
import { SensorError } from "../errors.ts";
import {
  attempt,
  createEngine,
  escapeOutput,
  MAX_TEMPLATE_LENGTH,
  renderWithin,
} from "../report/formats/template.ts";
import type { AlertFacts, Audience } from "./facts.ts";
import analystHtml from "./templates/analyst.html.liquid" with { type: "text" };
import analystText from "./templates/analyst.txt.liquid" with { type: "text" };
import digestHtml from "./templates/digest.html.liquid" with { type: "text" };
import digestText from "./templates/digest.txt.liquid" with { type: "text" };
import footHtml from "./templates/foot.html.liquid" with { type: "text" };
import headHtml from "./templates/head.html.liquid" with { type: "text" };
import userHtml from "./templates/user.html.liquid" with { type: "text" };
import userText from "./templates/user.txt.liquid" with { type: "text" };

export type AlertTemplate = ((facts: AlertFacts) => string) & {
  /** Names of the variables it uses that it does not set itself. */
  readonly variables: readonly string[];
};

/** What a template makes: one line, plain text, or HTML. */
export type TemplateKind = "subject" | "text" | "html";

export type TemplateSource = { readonly kind: TemplateKind; readonly text: string };

/** Makes the text of an alert, somewhere. Throws TEMPLATE_FAILED. */
export type RenderTemplate = (source: TemplateSource, facts: AlertFacts) => Promise<string>;

/** Bytes in the mail: text, HTML and logo together stay below MAX_ALERT_BYTES, so that the alert is known when it returns. */
export const MAX_OUTPUT = 200 * 1024;

const HTML_ENTITIES: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&#34;",
  "'": "&#39;",
};

function escapeHtml(value: unknown): string {
  return escapeOutput(value).replace(/[&<>"']/g, (one) => HTML_ENTITIES[one] ?? "");
}

/** Templates of a configuration; what was of an earlier one is forgotten. */
const MAX_COMPILED = 300;
const compiled = new Map<string, AlertTemplate>();

/** Compiles a template where it is not yet, and renders it. */
export function renderTemplate({ kind, text }: TemplateSource, facts: AlertFacts): string {
  const key = `${kind} ${text}`;
  const template = compiled.get(key) ?? compileAlertTemplate(text, kind);
  if (compiled.size >= MAX_COMPILED) compiled.clear();
  compiled.set(key, template);
  return template(facts);
}

export function compileAlertTemplate(text: string, kind: TemplateKind): AlertTemplate {
  if (text.length > MAX_TEMPLATE_LENGTH) {
    throw new SensorError("CONFIG_INVALID", `the template is longer than ${MAX_TEMPLATE_LENGTH} characters`);
  }
  if (text.trim() === "") throw new SensorError("CONFIG_INVALID", "the template is empty");
  const engine = createEngine(kind === "html" ? escapeHtml : escapeOutput);
  for (const [name, filter] of Object.entries(engine.filters)) {
    // A filter that is `raw` would put its result in unescaped.
    if (typeof filter === "object" && filter !== null) engine.registerFilter(name, filter.handler);
  }
  const parsed = attempt(() => engine.parse(text), "CONFIG_INVALID");
  const render = (facts: AlertFacts) => {
    const output = attempt(() => renderWithin(engine, parsed, { ...facts }), "TEMPLATE_FAILED");
    if (quotedLength(output) > MAX_OUTPUT) {
      throw new SensorError("TEMPLATE_FAILED", `the template made more than ${MAX_OUTPUT / 1024} KB`);
    }
    const made = kind === "subject" ? output.replace(/\s+/g, " ").trim() : tidy(output);
    if (made === "") throw new SensorError("TEMPLATE_FAILED", "the template made nothing");
    return made;
  };
  return Object.assign(render, { variables: [...new Set(engine.globalVariablesSync(parsed))] });
}

/** Bytes of a text as quoted-printable (RFC 2045 section 6.7), without the breaks of long lines. */
function quotedLength(text: string): number {
  const bytes = Buffer.byteLength(text);
  if (bytes * 3 <= MAX_OUTPUT) return bytes;
  return bytes + 2 * (bytes - text.replace(/[^\n\r\t -<>-~]/g, "").length);
}

/** Without white space at the ends of lines, and at most one empty line at a time. */
function tidy(text: string): string {
  return text
    .split(/\r\n|\r|\n/)
    .map((line) => line.trimEnd())
    .reduce<string[]>((lines, line) => {
      if (line !== "" || (lines.length > 0 && lines.at(-1) !== "")) lines.push(line);
      return lines;
    }, [])
    .join("\n");
}

const page = (body: string) => `${headHtml}${body}${footHtml}`;

/** The built-in templates; what a customer's own starts from. */
export const BUILT_IN: Readonly<
  Record<Audience | "digest", { readonly text: string; readonly html: string }>
> = {
  user: { text: userText, html: page(userHtml) },
  analyst: { text: analystText, html: page(analystHtml) },
  digest: { text: digestText, html: page(digestHtml) },
};
