/**
 * The `template` format: the customer's own line, written in Liquid with the event's fields in it.
 *
 * A template text goes in and a renderer comes out. The engine has no files, no includes and limits on time and
 * memory. Texts of a mail cannot forge a line: control characters are escaped, and line breaks of the template
 * itself become spaces. A template with an error throws CONFIG_INVALID with its line when it is compiled;
 * one that fails on an event throws TEMPLATE_FAILED, and the caller sends the event as JSON instead.
 */
import { Context, Liquid, type Template as Parsed } from "liquidjs";
import { nearest } from "../../config/suggest.ts";
import { SensorError } from "../../errors.ts";
import { escapeControls, toJsonLine } from "../../text.ts";
import { shrinkEvent } from "../bounds.ts";
import type { SensorEvent } from "../event.ts";
import { EVENT_LISTS, EVENT_PATHS } from "../fields.ts";
import { escapeCef, escapeCefHeader } from "./cef.ts";
import type { Format, VisibleEvent } from "./format.ts";
import { escapeLeef } from "./leef.ts";

export const MAX_TEMPLATE_LENGTH = 64 * 1024;
/** CPU time of the thread: by the clock, a good template took longer on a machine that was busy with something else. */
const MAX_RENDER_MS = 250;
const REST_FACTOR = 20;
/** Units of the engine: about one for each character or list item a filter makes. */
const MAX_RENDER_MEMORY = 10_000_000;
const MAX_OUTPUT_LENGTH = 1024 * 1024;
/** What is said of a template that makes nothing of an event. */
export const EMPTY_LINE = "the template made an empty line";
const CUT_MARK = " [cut]";

export type Template = {
  /** The line for an event. Throws TEMPLATE_FAILED. */
  line(event: VisibleEvent): string;
  /** The same with at most `maxBytes` in UTF-8: the event is cut first, then the line. */
  render(event: SensorEvent, maxBytes: number): string;
  /** What it names that no event has, in words: each gives nothing and is most likely an error. */
  unknown(): readonly string[];
};

/** Tags that load other templates. */
const FORBIDDEN_TAGS = ["include", "render", "layout", "block"];

/** An engine without files and with limits; `outputEscape` makes text of each value that is put in. */
export function createEngine(outputEscape: (value: unknown) => string = escapeOutput): Liquid {
  const engine = new Liquid({
    templates: {},
    strictFilters: true,
    strictVariables: false,
    ownPropertyOnly: true,
    dynamicPartials: false,
    cache: false,
    outputEscape,
    timezoneOffset: 0,
    locale: "en-US",
    parseLimit: MAX_TEMPLATE_LENGTH,
    renderLimit: MAX_RENDER_MS,
    memoryLimit: MAX_RENDER_MEMORY,
  });
  for (const tag of FORBIDDEN_TAGS) delete engine.tags[tag];
  engine.registerFilter("json", { raw: true, handler: (value: unknown) => toJsonLine(value ?? null) });
  for (const [name, write] of Object.entries(OWN_FILTERS)) engine.registerFilter(name, write);
  return engine;
}

/** Milliseconds of CPU that this thread has taken so far. */
function cpuTime(): number {
  const { user, system } = process.threadCpuUsage();
  return (user + system) / 1000;
}

/** What the template makes of `scope`, which it may write into. Throws what the engine throws. */
export function renderWithin(engine: Liquid, parsed: Parsed[], scope: object): string {
  const context = new Context(scope, engine.options, { sync: true }, { liquid: engine });
  const { renderLimit } = context;
  const checkClock = renderLimit.check.bind(renderLimit);
  const [begun, spent] = [performance.now(), cpuTime()];
  renderLimit.check = (now) => {
    // No more CPU time than time goes by, and it takes longer to ask for.
    if (now - begun >= MAX_RENDER_MS && cpuTime() - spent >= MAX_RENDER_MS) checkClock(now);
  };
  return String(engine.renderSync(parsed, context));
}

/** A value as one text: items with commas between. */
function textOf(value: unknown): string {
  if (Array.isArray(value)) return value.map(textOf).join(",");
  return typeof value === "object" && value !== null ? toJsonLine(value) : String(value ?? "");
}

/** Filters that put a value where a format of lines has one, so that it ends neither itself nor what is around it. */
const OWN_FILTERS: Readonly<Record<string, (value: unknown, option?: unknown) => string>> = {
  cef: (value) => escapeCef(textOf(value)),
  cef_header: (value) => escapeCefHeader(textOf(value)),
  leef: (value, delimiter = "^") => {
    if (typeof delimiter !== "string" || !/^[!-/:-@[\]-`{-~]$/.test(delimiter)) {
      throw new Error('leef takes the delimiter, one punctuation mark but the backslash: leef: "^"');
    }
    return escapeLeef(textOf(value), delimiter);
  },
  leef_header: (value) => escapeLeef(textOf(value), "|"),
  syslog_sd: (value) => escapeControls(textOf(value)).replace(/["\\\]]/g, "\\$&"),
};

/** The text of a value, on one line. */
export function escapeOutput(value: unknown): string {
  return escapeControls(
    typeof value === "object" && value !== null ? toJsonLine(value) : String(value ?? ""),
  );
}

/** Throws CONFIG_INVALID, with the line where the engine knows it. */
export function compileTemplate(text: string): Template {
  if (text.length > MAX_TEMPLATE_LENGTH) {
    throw new SensorError("CONFIG_INVALID", `the template is longer than ${MAX_TEMPLATE_LENGTH} characters`);
  }
  if (text.trim() === "") throw new SensorError("CONFIG_INVALID", "the template is empty");
  const engine = createEngine();
  const parsed = attempt(() => engine.parse(text), "CONFIG_INVALID");
  const line = (event: VisibleEvent): string => {
    // A copy: the tags increment and decrement write into what they are given.
    const output = attempt(() => renderWithin(engine, parsed, { ...event }), "TEMPLATE_FAILED");
    if (output.length > MAX_OUTPUT_LENGTH) {
      throw new SensorError("TEMPLATE_FAILED", `the template made more than ${MAX_OUTPUT_LENGTH} characters`);
    }
    const made = escapeControls(output.replace(BLANKS, oneSpace).trim());
    if (made === "") throw new SensorError("TEMPLATE_FAILED", EMPTY_LINE);
    return made;
  };
  return {
    line,
    render(event, maxBytes) {
      const { text, fits } = shrinkEvent(event, maxBytes, line);
      return fits ? text : cutLine(text, maxBytes);
    },
    unknown: () => [
      ...new Set(
        engine.globalVariableSegmentsSync(parsed).flatMap((segments) => unknownMember(segments) ?? []),
      ),
    ],
  };
}

/** Whole runs: a search for a line break in a run, from each of its blanks, would take the square of its length. */
const BLANKS = /[ \t\r\n]+/g;

/** A line break or a tab of the template is one space, with the blanks around it. */
function oneSpace(blanks: string): string {
  return /[\t\r\n]/.test(blanks) ? " " : blanks;
}

/** What lists and texts have beside their items. */
const PROPERTIES: readonly unknown[] = ["size", "first", "last"];

/** What is wrong with the path of a variable; null where nothing is, or it is only known when it is rendered. */
function unknownMember(segments: readonly unknown[]): string | null {
  let path = "";
  let list = false;
  for (const segment of segments) {
    if (typeof segment === "number") list = false;
    else if (typeof segment !== "string" || segment === "forloop") return null;
    else if (path !== "" && PROPERTIES.includes(segment)) list = false;
    else if (list) return `${path} is a list: loop over it, or take ${path}[0].${segment}`;
    else {
      const below = path === "" ? segment : `${path}.${segment}`;
      if (!EVENT_PATHS.has(below)) {
        const meant = nearest(below, [...EVENT_PATHS]);
        return `${below} is no member of an event${meant === null ? "" : `; did you mean ${meant}?`}`;
      }
      path = below;
      list = EVENT_LISTS.has(path);
    }
  }
  return null;
}

/**
 * All tries to make an event fit have the time of one. After two events in a row that took all of it, events go on as
 * JSON for {@link REST_FACTOR} times as long: templates run on the thread that takes mails in.
 */
export function templateFormat(
  template: Template,
  now: () => number = () => performance.now(),
  cpu: () => number = cpuTime,
): Format {
  let overrun = false;
  let restsUntil = 0;
  return (event) => {
    let spent = 0;
    const write = (visible: VisibleEvent): string => {
      const begun = cpu();
      if (now() < restsUntil || spent >= MAX_RENDER_MS)
        throw new SensorError("TEMPLATE_FAILED", "it took too long a moment ago");
      try {
        return template.line(visible);
      } finally {
        spent += cpu() - begun;
        const late = spent >= MAX_RENDER_MS;
        if (late && overrun) restsUntil = now() + spent * REST_FACTOR;
        overrun = late;
      }
    };
    return [{ event, write, cutLine }];
  };
}

/** The start of a line and a mark that says so, in `maxBytes`. */
export function cutLine(line: string, maxBytes: number): string {
  return cutBytes(line, maxBytes - CUT_MARK.length) + CUT_MARK;
}

/** The start of a text with at most `maxBytes` in UTF-8, no character split. */
function cutBytes(text: string, maxBytes: number): string {
  const room = new Uint8Array(Math.max(0, maxBytes));
  const { read } = new TextEncoder().encodeInto(text, room);
  return text.slice(0, read);
}

/** What a template may not do has one code; the message names the line and no text of an event. */
export function attempt<T>(work: () => T, code: "CONFIG_INVALID" | "TEMPLATE_FAILED"): T {
  try {
    return work();
  } catch (thrown) {
    const { message, line } = describe(thrown);
    throw new SensorError(code, `${line === null ? "" : `template line ${line}: `}${message}`, {
      cause: thrown,
    });
  }
}

/** Liquid errors are Error with the first line saying what and `token.getPosition()` saying where. */
function describe(thrown: unknown): { readonly message: string; readonly line: number | null } {
  if (!(thrown instanceof Error)) return { message: String(thrown), line: null };
  const message = advised(escapeControls((thrown.message.split("\n")[0] ?? "").slice(0, 300)));
  const token: unknown = "token" in thrown ? thrown.token : null;
  if (typeof token !== "object" || token === null || !("getPosition" in token))
    return { message, line: null };
  const position: unknown = typeof token.getPosition === "function" ? token.getPosition() : null;
  const line: unknown = Array.isArray(position) ? position[0] : null;
  return {
    message,
    line: typeof line === "number" ? line : null,
  };
}

/** What the engine says, and what to do about it. */
function advised(said: string): string {
  const message = said.replace(/, line:\d+, col:\d+$/, "");
  const engine = createEngine();
  const meant = (name: string, known: object) => {
    const found = nearest(name, Object.keys(known));
    return found === null ? "" : `; did you mean ${found}?`;
  };
  const filter = /^undefined filter: (\S+)$/.exec(message)?.[1];
  if (filter !== undefined) return message + meant(filter, engine.filters);
  const tag = /^tag "(\S+)" not found$/.exec(message)?.[1];
  if (tag !== undefined) {
    return FORBIDDEN_TAGS.includes(tag)
      ? `the tag "${tag}" loads other templates, which is not possible here: put the text itself in its place`
      : message + meant(tag, engine.tags);
  }
  if (message === "template render limit exceeded") {
    return `it takes more than ${MAX_RENDER_MS} ms of CPU time: loop over less`;
  }
  if (message === "memory alloc limit exceeded") return "it takes too much memory: loop over less";
  return message;
}
