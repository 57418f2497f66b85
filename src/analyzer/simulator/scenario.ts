/**
 * What a simulator is told to do: faults, and what it says of which content. YAML in, a checked Scenario out.
 *
 * Checked like the configuration: every problem at once, each with its line and column. Durations become
 * milliseconds, sizes bytes. docs/simulator.md describes each key.
 */
import { z } from "zod";
import { readDocument } from "../../config/document.ts";
import type { Key } from "../../config/keys.ts";
import { wordsFor } from "../../config/load.ts";
import { formatProblem, type Path, type Problem, pathText } from "../../config/problem.ts";
import { choice, duration, size } from "../../config/sections/kinds.ts";
import { nearest } from "../../config/suggest.ts";
import { SensorError } from "../../errors.ts";
import { OUTCOMES } from "./judgement.ts";

/** Groups of paths of the API that a fault can be limited to. */
export const ENDPOINTS = [
  "submit",
  "lookup",
  "sample",
  "submission",
  "feed",
  "job",
  "analysis",
  "reputation",
  "evidence",
  "quota",
  "system_info",
  "continuation",
  "other",
] as const;
export type Endpoint = (typeof ENDPOINTS)[number];

export const FAULTS = [
  "status",
  "reset_before",
  "reset_after",
  "slow",
  "late",
  "truncated",
  "oversized",
  "wrong_json",
  "html",
] as const;

/** Relations of VMRay between a sample and what was found in it. */
const RELATIONS = [
  "Attachment",
  "Embedded URL",
  "Contacted URL",
  "Downloaded File",
  "Embedded File",
  "Dropped File",
] as const;

const MAX_DURATION = "30d";
const line = (max: number) => z.string().min(1, "is empty").max(max);
const lines = (max: number) => z.array(line(max)).max(100);
const sha256 = () =>
  z
    .string()
    .regex(/^[0-9A-Fa-f]{64}$/, "must be 64 hexadecimal digits")
    .transform((text) => text.toLowerCase());
const wholeFrom = (min: number, max: number) => z.int().min(min).max(max);
const time = () => duration("0ms", MAX_DURATION);

const fault = z
  .strictObject({
    fault: choice(FAULTS),
    endpoints: z.array(choice(ENDPOINTS)).min(1).optional(),
    status: wholeFrom(400, 599).optional(),
    retry_after: wholeFrom(0, 86_400).optional(),
    when: choice(["before", "after"]).default("before"),
    delay: time().optional(),
    size: size("1B", "256MB").optional(),
    probability: z.number().min(0).max(1).default(1),
    every: wholeFrom(1, 1_000_000).default(1),
    skip: wholeFrom(0, 1_000_000_000).default(0),
    count: wholeFrom(1, 1_000_000_000).optional(),
    from: time().optional(),
    until: time().optional(),
  })
  .superRefine((value, context) => {
    const refuse = (path: string, message: string): void =>
      context.addIssue({ code: "custom", path: [path], message });
    if (value.fault === "status" && value.status === undefined) refuse("status", "is missing");
    const waits = value.fault === "slow" || value.fault === "late";
    if (waits && value.delay === undefined) refuse("delay", "is missing");
    if (value.fault !== "status" && value.fault !== "html" && value.status !== undefined)
      refuse("status", "goes with fault: status or html alone");
    if (value.retry_after !== undefined && value.fault !== "status")
      refuse("retry_after", "goes with fault: status alone");
    if (value.delay !== undefined && !waits) refuse("delay", "goes with fault: slow or late alone");
    if (value.size !== undefined && value.fault !== "oversized")
      refuse("size", "goes with fault: oversized alone");
    if (value.from !== undefined && value.until !== undefined && value.until <= value.from)
      refuse("until", "must be later than from");
  });

/** A verdict and what is told with it. */
const evidence = {
  verdict: choice(OUTCOMES).optional(),
  reason: line(500).optional(),
  threat_names: lines(200).optional(),
  classifications: lines(100).optional(),
  vtis: z
    .array(
      z.strictObject({
        category: line(100),
        operation: line(300),
        score: wholeFrom(1, 5),
        classifications: lines(100).default([]),
      }),
    )
    .max(100)
    .optional(),
  mitre: z
    .array(
      z.strictObject({
        technique_id: z.string().regex(/^T\d{4}(\.\d{3})?$/, "must be like T1566 or T1566.002"),
        technique: line(200),
        tactics: lines(100).default([]),
      }),
    )
    .max(100)
    .optional(),
  iocs: z
    .strictObject({
      domains: lines(255).default([]),
      email_addresses: lines(320).default([]),
      filenames: lines(1000).default([]),
      files: z.array(sha256()).max(100).default([]),
      ips: lines(45).default([]),
      mutexes: lines(1000).default([]),
      processes: lines(2000).default([]),
      registry: lines(1000).default([]),
      urls: lines(2000).default([]),
    })
    .optional(),
};

/** One section where a list of them may stand. */
const oneOrMore = <T extends z.ZodType>(list: T) =>
  z.preprocess(
    (value) => (typeof value === "object" && value !== null && !Array.isArray(value) ? [value] : value),
    list,
  );

const child = z
  .strictObject({
    filename: line(255).optional(),
    url: z.url("must be a URL").optional(),
    sha256: sha256().optional(),
    relation: choice(RELATIONS).optional(),
    ...evidence,
  })
  .refine((value) => (value.filename === undefined) !== (value.url === undefined), {
    message: "needs a filename or a url, and not both",
  });

const content = z.strictObject({
  match: z
    .strictObject({
      sha256: sha256().optional(),
      filename: line(255).optional(),
      url: line(8192).optional(),
      url_host: line(255).optional(),
      url_prefix: line(8192).optional(),
    })
    .refine((match) => Object.keys(match).length > 0, { message: "needs one of its keys" }),
  known: z.boolean().default(false),
  ...evidence,
  queued: time().optional(),
  work: time().optional(),
  evidence_lag: time().default(() => 0),
  has_errors: z.boolean().default(false),
  submit: choice(["stored", "not_stored", "denied", "refused"]).default("stored"),
  errors: lines(500).default([]),
  children: z.array(child).max(50).default([]),
  // biome-ignore lint/suspicious/noThenProperty: a key of the file; nothing awaits a rule
  then: oneOrMore(z.array(z.strictObject({ after: time(), ...evidence })).max(20)).default([]),
});

const schema = z.strictObject({
  seed: wholeFrom(0, 4_294_967_295).default(1),
  faults: z.array(fault).max(100).default([]),
  contents: z.array(content).max(10_000).default([]),
  quota: z
    .strictObject({
      reports: wholeFrom(0, 1_000_000_000).optional(),
      verdicts: wholeFrom(0, 1_000_000_000).optional(),
      key_limit: wholeFrom(0, 1_000_000_000).default(0),
      charge_reputation: z.boolean().default(false),
      charge_cached: z.boolean().default(false),
      reputation_when_denied: z.boolean().default(true),
      account: line(100).default("Simulated account"),
      user: line(320).default("simulator@vmray-simulator.example"),
    })
    .prefault({}),
  unknown_fields: choice(["refuse", "ignore"]).default("refuse"),
});

export type Scenario = z.output<typeof schema>;
export type FaultRule = Scenario["faults"][number];
export type ContentRule = Scenario["contents"][number];
export type ChildRule = ContentRule["children"][number];
/** A verdict with its evidence, or a part of one that stands over another. */
export type Told = ContentRule["then"][number] | ChildRule | ContentRule;
export type QuotaRule = Scenario["quota"];

/** No fault, no rule. */
export const EMPTY_SCENARIO: Scenario = schema.parse({});

const ROOT: Key = { shape: "section", note: {}, required: true, default: undefined, keys: new Map() };
const MAX_SCENARIO = 4 * 1024 ** 2;

/** The keys of the section at a path, for a hint at a misspelt one. */
function keysAt(path: Path): readonly string[] {
  const sections: Readonly<Record<string, z.ZodObject>> = {
    "": schema,
    quota: schema.shape.quota.unwrap(),
    "faults[]": fault,
    "contents[]": content,
    "contents[].match": content.shape.match,
    "contents[].iocs": evidence.iocs.unwrap(),
    "contents[].children[]": child,
  };
  const name = pathText(path).replaceAll(/\[\d+\]/g, "[]");
  if (/^contents\[\]\.then(?:\[\])?$/.test(name)) return ["after", ...Object.keys(evidence)];
  return Object.keys(sections[name]?.shape ?? {});
}

function unknownKey(path: Path, name: string): string {
  const known = keysAt(path);
  const meant = nearest(name, known);
  if (meant !== null) return `unknown key; did you mean ${meant}?`;
  return known.length === 0 ? "unknown key" : `unknown key; known here: ${known.join(", ")}`;
}

export type ScenarioCheck =
  | { readonly scenario: Scenario; readonly problems: readonly [] }
  | { readonly scenario?: undefined; readonly problems: readonly Problem[] };

/** Checks the text of a scenario; `file` names it in the problems. Never throws for what is in it. */
export function checkScenario(text: string, file: string): ScenarioCheck {
  if (text.length > MAX_SCENARIO) {
    const message = "the scenario is larger than 4MB";
    return { problems: [{ file, line: 1, column: 1, key: "", message }] };
  }
  // An empty file, or one of comments alone, is a scenario without anything in it.
  const empty = text.replaceAll(/^\s*(?:#.*)?$/gm, "").trim() === "";
  const document = readDocument(empty ? "{}" : text, ROOT, "/", {});
  const problems: Problem[] = document.problems.map(({ path, at, message }) => ({
    file,
    ...at,
    key: pathText(path),
    message,
  }));
  if (!document.readable) return { problems };
  const parsed = schema.safeParse(document.value, { error: wordsFor });
  if (parsed.success && problems.length === 0) return { scenario: parsed.data, problems: [] };
  for (const issue of parsed.error?.issues ?? []) {
    const path: Path = issue.path.map((part) => (typeof part === "number" ? part : String(part)));
    const found =
      issue.code === "unrecognized_keys"
        ? issue.keys.map((name) => ({ path: [...path, name], message: unknownKey(path, name) }))
        : [{ path, message: issue.message }];
    for (const one of found) {
      problems.push({ file, ...document.position(one.path), key: pathText(one.path), message: one.message });
    }
  }
  return { problems: problems.toSorted((a, b) => a.line - b.line || a.column - b.column) };
}

/** The scenario of a text. Throws SensorError CONFIG_INVALID with every problem on a line of its own. */
export function readScenario(text: string, file: string): Scenario {
  const { scenario, problems } = checkScenario(text, file);
  if (scenario !== undefined) return scenario;
  const count = problems.length === 1 ? "a problem" : `${problems.length} problems`;
  throw new SensorError(
    "CONFIG_INVALID",
    [`the scenario has ${count}:`, ...problems.slice(0, 100).map((problem) => formatProblem(problem))].join(
      "\n",
    ),
  );
}

/**
 * A fault as one text of the command line, like `status=503 endpoints=submit,lookup every=10`: a kind of fault,
 * alone or with `status=`, then keys of the scenario. Throws SensorError USAGE.
 */
export function readFaultOption(text: string): FaultRule {
  const wrong = (message: string): SensorError => new SensorError("USAGE", `--fault: ${message}`);
  const [first = "", ...rest] = text.trim().split(/\s+/);
  const words = first.startsWith("status=") ? ["fault=status", first, ...rest] : [`fault=${first}`, ...rest];
  const pairs = words.map((word): readonly [string, unknown] => {
    const at = word.indexOf("=");
    if (at < 1) throw wrong("needs a kind of fault and then KEY=VALUE, with spaces between");
    const [name, value] = [word.slice(0, at), word.slice(at + 1)];
    if (name === "endpoints") return [name, value.split(",")];
    return [name, /^\d+(?:\.\d+)?$/.test(value) ? Number(value) : value];
  });
  const parsed = fault.safeParse(Object.fromEntries(pairs), { error: wordsFor });
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  if (issue?.code === "unrecognized_keys") {
    throw wrong(`${issue.keys.map((name) => pathText([name])).join(", ")}: unknown key`);
  }
  throw wrong(`${pathText(issue?.path.map(String) ?? [])}: ${issue?.message ?? "is not understood"}`);
}
