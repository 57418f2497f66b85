/**
 * Loads the configuration file: all of its problems at once, each with its position, or a checked Config.
 *
 * In go the path and the environment, out come values with defaults filled in, secrets still in their files.
 * The file is at most 1 MB. Nothing of a value is repeated in a problem.
 */
import { dirname, resolve } from "node:path";
import type { z } from "zod";
import { rehearseAlert } from "../alert/rehearsal.ts";
import { createTemplateThread } from "../alert/template-thread.ts";
import { SensorError } from "../errors.ts";
import { rehearse } from "../report/rehearsal.ts";
import { adviceOn } from "./advice.ts";
import { type ConfigDocument, readDocument } from "./document.ts";
import { checkFile, keyFits, loadSecret, readBounded, realFile, templateFault, utf8 } from "./files.ts";
import { CONFIG_KEYS, type Key } from "./keys.ts";
import type { KeyNote } from "./note.ts";
import { formatProblem, type Path, type Position, type Problem, pathText, printable } from "./problem.ts";
import { type Config, schema, sharedPaths } from "./schema.ts";
import { nearest } from "./suggest.ts";

const MAX_CONFIG = 1024 * 1024;
const MAX_PROBLEMS = 100;

export const DEFAULT_CONFIG_PATH = "/etc/email-sensor/sensor.yaml";

export type Environment = Readonly<Record<string, string | undefined>>;

export type ConfigCheck = {
  /** Only where there is no problem. */
  readonly config?: Config;
  /** In the order of the file. */
  readonly problems: readonly Problem[];
  readonly warnings: readonly Problem[];
};

// ---- words for what the schema finds

const WANTED: Readonly<Record<string, string>> = {
  string: "text",
  int: "a whole number",
  number: "a number",
  boolean: "true or false",
  array: "a list",
  object: "a section of keys",
};

function kindOf(value: unknown): string {
  if (Array.isArray(value)) return "a list";
  if (typeof value === "string") return "text";
  if (typeof value === "boolean") return "true or false";
  return typeof value === "number" ? "a number" : "a section of keys";
}

function wrongType(expected: string, value: unknown): string {
  if (value === undefined) return "is missing";
  if (value === null) return "has no value";
  const wanted = WANTED[expected] ?? expected;
  if (expected === "array" && typeof value === "string") return "must be a list: put the value in [ ]";
  if (expected === "string" && (typeof value === "number" || typeof value === "boolean")) {
    return "must be text: put the value in quotes";
  }
  if ((expected === "number" || expected === "int") && typeof value === "string" && /^\d+$/.test(value)) {
    return `must be ${wanted}: take the quotes off`;
  }
  return kindOf(value) === wanted || (expected === "int" && typeof value === "number")
    ? `must be ${wanted}`
    : `must be ${wanted}, not ${kindOf(value)}`;
}

function outOfRange(side: "least" | "most", origin: string, bound: number | bigint): string {
  if (origin === "array") return `must have at ${side} ${bound} ${bound === 1 ? "entry" : "entries"}`;
  if (origin === "string") return `must be at ${side} ${bound} characters long`;
  return `must be at ${side} ${bound}`;
}

/** What a schema says where it has no words of its own. */
export function wordsFor(issue: z.core.$ZodRawIssue): string {
  switch (issue.code) {
    case "invalid_type":
      return wrongType(issue.expected, issue.input);
    case "invalid_value": {
      if (issue.input === undefined || issue.input === null) return wrongType("string", issue.input);
      const values = issue.values.map(String);
      const meant = typeof issue.input === "string" ? nearest(issue.input, values) : null;
      const hint = meant === null ? "" : `; did you mean ${meant}?`;
      return `must be ${values.length > 1 ? "one of " : ""}${values.join(", ")}${hint}`;
    }
    case "too_small":
      return outOfRange("least", issue.origin, issue.minimum);
    case "too_big":
      return outOfRange("most", issue.origin, issue.maximum);
    default:
      return "does not have the right form";
  }
}

// ---- keys

function keyAt(path: Path): Key | undefined {
  let key: Key | undefined = CONFIG_KEYS;
  for (const part of path) {
    if (key?.shape === "section" && typeof part === "string") key = key.keys.get(part);
    else if (key?.shape === "list") key = key.item;
    else return undefined;
  }
  return key;
}

/** Sections that have a key of this name. */
function homesOf(name: string): readonly string[] {
  return [...CONFIG_KEYS.keys].flatMap(([section, key]) => {
    const inside = key.shape === "list" ? key.item : key;
    if (inside.shape !== "section" || !inside.keys.has(name)) return [];
    return [`${section}${key.shape === "list" ? "[]" : ""}.${name}`];
  });
}

function unknownKey(parent: Path, name: string): string {
  const section = keyAt(parent);
  const known = section?.shape === "section" ? [...section.keys.keys()] : [];
  const meant = nearest(name, known);
  if (meant !== null) return `unknown key; did you mean ${meant}?`;
  const homes = homesOf(name);
  if (homes.length > 0) return `unknown key here; did you mean ${homes.join(" or ")}?`;
  return known.length === 0
    ? "unknown key; there is no key here yet"
    : `unknown key; known here: ${known.join(", ")}`;
}

type Leaf = { readonly path: Path; readonly text: string; readonly note: KeyNote };

/** All texts among unchecked values that stand where the schema has a value. */
function leaves(value: unknown, key: Key, path: Path): readonly Leaf[] {
  if (key.shape === "list") {
    return Array.isArray(value)
      ? value.flatMap((item, index) => leaves(item, key.item, [...path, index]))
      : [];
  }
  if (key.shape === "section") {
    if (typeof value !== "object" || value === null) return [];
    return [...key.keys].flatMap(([name, below]) => leaves(Reflect.get(value, name), below, [...path, name]));
  }
  return typeof value === "string" ? [{ path, text: value, note: key.note }] : [];
}

// ---- the check

type Found = { readonly path: Path; readonly at: Position; readonly message: string };

/** Problems of types, ranges, unknown keys and conflicts. */
function schemaProblems(error: z.ZodError, document: ConfigDocument): readonly Found[] {
  return error.issues.flatMap((issue): readonly Found[] => {
    const path: Path = issue.path.map((part) => (typeof part === "number" ? part : String(part)));
    if (issue.code === "unrecognized_keys") {
      return issue.keys.map((name) => {
        const below = [...path, name];
        return { path: below, at: document.position(below), message: unknownKey(path, name) };
      });
    }
    return [{ path, at: document.position(path), message: issue.message }];
  });
}

async function fileFindings(texts: readonly Leaf[], document: ConfigDocument, now: Date) {
  const problems: Found[] = [];
  const warnings: Found[] = [];
  const checked = await Promise.all(
    texts.flatMap(({ path, text, note }) =>
      note.file === undefined
        ? []
        : [checkFile(text, note.file, now).then((finding) => ({ path, text, note, finding }))],
    ),
  );
  for (const { path, text, note, finding } of checked) {
    // Where a name belongs people put the secret itself: such a name is not repeated.
    const name = note.file === "secret" || document.fromEnvironment(path) ? "" : ` ${printable(text)}`;
    const found = (words: string): Found => ({
      path,
      at: document.position(path),
      message: `the file${name} ${words}`,
    });
    if (finding.problem !== null) problems.push(found(finding.problem));
    if (finding.warning !== null) warnings.push(found(finding.warning));
  }
  return { problems, warnings };
}

/** Templates that do not compile. What came from the environment may be a secret: the engine may quote it. */
function templateProblems(texts: readonly Leaf[], document: ConfigDocument): readonly Found[] {
  return texts.flatMap(({ path, text, note }) => {
    const fault = note.template === true && text !== "" ? templateFault(text) : null;
    if (fault === null) return [];
    const words = document.fromEnvironment(path) ? "" : `: ${fault}`;
    return [{ path, at: document.position(path), message: `is no good template${words}` }];
  });
}

/** Certificates and private keys that must belong together. */
function keyPairs({ smtp, vmray, siem }: Config) {
  const pair = (certificate: string | undefined, file: string | undefined, named: string, path: Path) =>
    certificate === undefined || file === undefined ? [] : [{ certificate, key: { file, path }, named }];
  return [
    ...pair(smtp.tls?.cert_file, smtp.tls?.key_file, "cert_file", ["smtp", "tls", "key_file"]),
    ...pair(vmray.client_cert_file, vmray.client_key_file, "client_cert_file", ["vmray", "client_key_file"]),
    ...vmray.analyzers.flatMap(({ client_cert_file, client_key_file }, index) =>
      pair(client_cert_file, client_key_file, "client_cert_file", [
        "vmray",
        "analyzers",
        index,
        "client_key_file",
      ]),
    ),
    ...siem.flatMap(({ tls }, index) =>
      pair(tls?.cert_file, tls?.key_file, "cert_file", ["siem", index, "tls", "key_file"]),
    ),
  ];
}

/** Files that two destinations write through symbolic links. */
async function linkedFiles({ siem }: Config, document: ConfigDocument): Promise<readonly Found[]> {
  const paths = siem.map(({ file }) => (file === undefined ? null : realFile(file.path)));
  return sharedPaths(await Promise.all(paths)).map(({ path, message }) => ({
    path,
    at: document.position(path),
    message: `${message}, through a symbolic link`,
  }));
}

/** What samples of events show of destinations and alerts. What came from the environment may be a secret. */
async function rehearsals({ siem, alerts }: Config, document: ConfigDocument) {
  const templates = createTemplateThread();
  const at = (
    path: Path,
    { severity, message }: { readonly severity: "problem" | "warning"; readonly message: string },
  ) => {
    const words = document.fromEnvironment(path) ? "is no good template" : message;
    return { severity, found: { path, at: document.position(path), message: words } satisfies Found };
  };
  const ofAlerts = await Promise.all(
    alerts.map(async (one, index) =>
      (await rehearseAlert(one, templates.render)).map((finding) =>
        at(["alerts", index, ...finding.key], finding),
      ),
    ),
  ).finally(() => templates.stop());
  const found = [
    ...siem.flatMap((one, index) =>
      rehearse(one).map((finding) => at(["siem", index, finding.key], finding)),
    ),
    ...ofAlerts.flat(),
  ];
  const of = (wanted: "problem" | "warning") =>
    found.flatMap((one) => (one.severity === wanted ? [one.found] : []));
  return { problems: of("problem"), warnings: of("warning") };
}

/** Checks a configuration file and everything it names on this machine's disk. Never throws for what is in it. */
export async function checkConfig(path: string, env: Environment, now = new Date()): Promise<ConfigCheck> {
  const whole = (message: string): ConfigCheck => ({
    problems: [{ file: path, line: 1, column: 1, key: "", message }],
    warnings: [],
  });
  const read = await readBounded(path, MAX_CONFIG, "any");
  if ("fault" in read) return whole(`the configuration file ${read.fault}`);
  const text = utf8(read.bytes);
  if (text === null) return whole("the configuration file is not UTF-8 text");

  const finish = (found: readonly Found[]): readonly Problem[] =>
    found
      .toSorted((a, b) => a.at.line - b.at.line || a.at.column - b.at.column)
      .map(({ path: where, at, message }) => ({ file: path, ...at, key: pathText(where), message }));

  const document = readDocument(text, CONFIG_KEYS, dirname(resolve(path)), env);
  if (!document.readable) return { problems: finish(document.problems), warnings: [] };

  // An absent section with required keys is as good as an empty one: its keys are named as missing.
  const values = { ...document.value, vmray: document.value.vmray ?? {} };
  const parsed = schema.safeParse(values, { error: wordsFor });
  const spoiled = new Set(document.problems.map((problem) => pathText(problem.path)));
  const byRule = parsed.success ? [] : schemaProblems(parsed.error, document);
  const texts = leaves(values, CONFIG_KEYS, []).filter(({ path: where }) => !spoiled.has(pathText(where)));
  const byFile = await fileFindings(texts, document, now);
  const problems = [
    ...document.problems,
    ...byRule.filter((problem) => !spoiled.has(pathText(problem.path))),
    ...byFile.problems,
    ...templateProblems(texts, document),
  ];
  if (parsed.success && problems.length === 0) {
    for (const { certificate, key, named } of keyPairs(parsed.data)) {
      if (await keyFits(certificate, key.file)) continue;
      problems.push({
        path: key.path,
        at: document.position(key.path),
        message: `does not belong to ${named}`,
      });
    }
    problems.push(...(await linkedFiles(parsed.data, document)));
  }
  const warnings = [...byFile.warnings];
  if (parsed.success && problems.length === 0) {
    const tried = await rehearsals(parsed.data, document);
    problems.push(...tried.problems);
    warnings.push(...tried.warnings);
  }
  if (!parsed.success || problems.length > 0) {
    return { problems: finish(problems), warnings: finish(warnings) };
  }
  const advice = adviceOn(parsed.data, document.fromEnvironment).map((one) => ({
    ...one,
    at: document.position(one.path),
  }));
  return { config: parsed.data, problems: [], warnings: finish([...warnings, ...advice]) };
}

/**
 * The configuration of a file, ready to start a sensor with.
 * Throws SensorError CONFIG_INVALID; its message has a first line and then every problem on a line of its own.
 */
export async function loadConfig(path: string, env: Environment): Promise<Config> {
  const { config, problems } = await checkConfig(path, env);
  if (config !== undefined) return config;
  throw new SensorError(
    "CONFIG_INVALID",
    [`the configuration has ${problems.length === 1 ? "a problem" : `${problems.length} problems`}:`]
      .concat(problems.slice(0, MAX_PROBLEMS).map((problem) => formatProblem(problem)))
      .concat(problems.length > MAX_PROBLEMS ? [`and ${problems.length - MAX_PROBLEMS} more`] : [])
      .join("\n"),
  );
}

type Connection = Config["vmray"] | Config["vmray"]["analyzers"][number];

/** The API key of VMRay. Throws SensorError CONFIG_INVALID where its file no longer holds one. */
export async function vmrayApiKey({ api_key, api_key_file }: Connection): Promise<string> {
  if (api_key !== undefined) return api_key;
  if (api_key_file !== undefined) return loadSecret(api_key_file);
  throw new SensorError("CONFIG_INVALID", "vmray needs api_key_file or api_key");
}

/**
 * The keys of a connection with the proxy as it is used: with the password out of its file.
 * Throws SensorError CONFIG_INVALID where that file no longer holds one.
 */
export async function vmrayConnection<T extends Connection>(connection: T): Promise<T> {
  const { proxy, proxy_password_file } = connection;
  if (proxy === undefined || proxy_password_file === undefined) return connection;
  const url = new URL(proxy);
  url.password = encodeURIComponent(await loadSecret(proxy_password_file));
  return { ...connection, proxy: url.href.replace(/\/$/, "") };
}
