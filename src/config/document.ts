/**
 * The text of a configuration file as plain values, each with its position.
 *
 * YAML 1.2 (core schema, no tags, no merge keys, one document). `${NAME}` in a value becomes the environment
 * variable, `$${` stands for `${`; relative file names are taken from the folder of the file. Depth, nodes and
 * aliases are bounded. Problems are collected, none is thrown, and none repeats a value.
 */
import { resolve } from "node:path";
import {
  type Document,
  isAlias,
  isMap,
  isScalar,
  isSeq,
  LineCounter,
  type Node,
  parseDocument,
  type YAMLError,
} from "yaml";
import type { Key } from "./keys.ts";
import { type Path, type Position, pathText } from "./problem.ts";

const MAX_DEPTH = 32;
const MAX_NODES = 20_000;
const MAX_ALIASES = 100;

export type DocumentProblem = { readonly path: Path; readonly at: Position; readonly message: string };

export type ConfigDocument = {
  /** Objects have no prototype. */
  readonly value: Readonly<Record<string, unknown>>;
  readonly problems: readonly DocumentProblem[];
  /** False where the text is no YAML: `value` is then of no use. */
  readonly readable: boolean;
  /** Where the key stands; of a key that does not, where the section it is missing from stands. */
  position(path: Path): Position;
  /** True where the value came from the environment, wholly or in part. */
  fromEnvironment(path: Path): boolean;
};

/** What YAML errors mean, in words that need no knowledge of the parser. Its own words may repeat the text. */
const YAML_FAULTS: Readonly<Record<YAMLError["code"], string>> = {
  ALIAS_PROPS: "an alias (*name) cannot have an anchor or a tag",
  BAD_ALIAS: "this anchor or alias has no good name; put a value that starts with & or * in quotes",
  BAD_COLLECTION_TYPE: "a tag does not fit its value; tags (!name) are not used here",
  BAD_DIRECTIVE: "a line that starts with % is a YAML directive, and this one is not known",
  BAD_DQ_ESCAPE: 'unknown escape after \\ in "..."; use single quotes for text with backslashes',
  BAD_INDENT: "the indentation does not fit, or a bracket is not closed",
  BAD_PROP_ORDER: "anchors and tags must stand before the value",
  BAD_SCALAR_START: "a value that starts with this character must be in quotes",
  BLOCK_AS_IMPLICIT_KEY: 'a second ": " in one line; put a value with ": " in it in quotes',
  BLOCK_IN_FLOW: "a block list or section cannot stand inside [ ] or { }",
  DUPLICATE_KEY: "the key is there twice",
  IMPOSSIBLE: "this is not valid YAML",
  KEY_OVER_1024_CHARS: "the key is too long",
  MISSING_CHAR: "a character is missing here: a closing quote, a comma, a colon or a space",
  MULTILINE_IMPLICIT_KEY: "a line without KEY: in front of it",
  MULTIPLE_ANCHORS: "a value can have one anchor",
  MULTIPLE_DOCS: "a second document starts here (---); the configuration is one document",
  MULTIPLE_TAGS: "a value can have one tag",
  NON_STRING_KEY: "a list or a section stands where a key should; put an IPv6 address in quotes",
  RESOURCE_EXHAUSTION: "it is nested too deeply",
  TAB_AS_INDENT: "a tab is used for indentation; YAML wants spaces",
  TAG_RESOLVE_FAILED: "tags are not used here; put a value that starts with ! in quotes",
  UNEXPECTED_TOKEN: "something stands here that YAML does not expect; quotes around the value may help",
};

type Substitution = { readonly text: string; readonly used: boolean; readonly problems: readonly string[] };

function substitute(text: string, env: Readonly<Record<string, string | undefined>>): Substitution {
  const problems: string[] = [];
  let used = false;
  const result = text.replace(
    /\$\$\{|\$\{([^}]*)(\}?)/g,
    (whole, name: string | undefined, close: string) => {
      if (whole === "$${") return "${";
      used = true;
      if (close === "" || name === undefined || !/^[A-Za-z_][A-Za-z0-9_]{0,127}$/.test(name)) {
        // biome-ignore lint/suspicious/noTemplateCurlyInString: speaks of the placeholder
        problems.push("has a ${ that is not ${NAME}; write $${ for a plain ${");
        return "";
      }
      const value = Object.hasOwn(env, name) ? env[name] : undefined;
      if (value === undefined) problems.push(`the environment variable ${name} is not set`);
      return value ?? "";
    },
  );
  return { text: result, used, problems };
}

/** The environment only knows text: what a number or a switch is wanted for is read as one. */
function coerce(text: string, key: Key | undefined): unknown {
  if (key?.shape !== "value") return text;
  if (key.type === "number" && /^\d{1,15}$/.test(text)) return Number(text);
  if (key.type === "boolean" && (text === "true" || text === "false")) return text === "true";
  return text;
}

class TooLarge extends Error {}

/**
 * @param folder what relative file names are relative to
 * @param root the key of the whole file
 */
export function readDocument(
  text: string,
  root: Key,
  folder: string,
  env: Readonly<Record<string, string | undefined>>,
): ConfigDocument {
  const lines = new LineCounter();
  const problems: DocumentProblem[] = [];
  const positions = new Map<string, Position>();
  const environment = new Set<string>();
  const at = (offset: number): Position => {
    const { line, col } = lines.linePos(offset);
    return { line: Math.max(line, 1), column: Math.max(col, 1) };
  };
  const position = (path: Path): Position => {
    for (let length = path.length; length > 0; length--) {
      const found = positions.get(pathText(path.slice(0, length)));
      if (found !== undefined) return found;
    }
    return { line: 1, column: 1 };
  };
  const complain = (path: Path, message: string): void => {
    problems.push({ path, at: position(path), message });
  };

  const document: Document.Parsed = parseDocument(text, {
    lineCounter: lines,
    version: "1.2",
    schema: "core",
    merge: false,
    prettyErrors: false,
    stringKeys: true,
    uniqueKeys: false,
    resolveKnownTags: false,
    logLevel: "error",
  });
  const result = (value: Readonly<Record<string, unknown>>, readable: boolean): ConfigDocument => ({
    value,
    problems,
    readable,
    position,
    fromEnvironment: (path) => environment.has(pathText(path)),
  });
  const faults = [...document.errors, ...document.warnings];
  if (faults.length > 0) {
    for (const fault of faults.slice(0, 20)) {
      problems.push({
        path: [],
        at: at(fault.pos[0]),
        message: `not valid YAML: ${YAML_FAULTS[fault.code]}`,
      });
    }
    return result({}, false);
  }

  let nodes = 0;
  let aliases = 0;
  const convert = (node: unknown, key: Key | undefined, path: Path): unknown => {
    nodes += 1;
    if (nodes > MAX_NODES) throw new TooLarge(`the configuration has more than ${MAX_NODES} values`);
    if (path.length > MAX_DEPTH)
      throw new TooLarge(`the configuration is nested more than ${MAX_DEPTH} deep`);
    if (isAlias(node)) {
      aliases += 1;
      if (aliases > MAX_ALIASES)
        throw new TooLarge(`the configuration uses more than ${MAX_ALIASES} aliases`);
      const target: Node | undefined = node.resolve(document);
      if (target !== undefined) return convert(target, key, path);
      complain(path, "refers to an anchor that is not there; put a value that starts with * in quotes");
      return "";
    }
    if (isMap(node)) {
      const value: Record<string, unknown> = Object.create(null);
      for (const pair of node.items) {
        if (!isScalar(pair.key)) continue;
        const name = String(pair.key.value);
        const below: Path = [...path, name];
        const here = at(pair.key.range?.[0] ?? 0);
        if (Object.hasOwn(value, name)) {
          problems.push({
            path: below,
            at: here,
            message: `is given twice, first in line ${position(below).line}`,
          });
          continue;
        }
        positions.set(pathText(below), here);
        value[name] = convert(pair.value, key?.shape === "section" ? key.keys.get(name) : undefined, below);
      }
      return value;
    }
    if (isSeq(node)) {
      return node.items.map((item, index) => {
        const below: Path = [...path, index];
        const start = typeof item === "object" && item !== null ? Reflect.get(item, "range") : undefined;
        if (Array.isArray(start)) positions.set(pathText(below), at(Number(start[0])));
        return convert(item, key?.shape === "list" ? key.item : undefined, below);
      });
    }
    if (key?.shape === "list" && key.note.oneOrMore === true && isScalar(node) && node.value !== null) {
      return [convert(node, key.item, [...path, 0])];
    }
    const value: unknown = isScalar(node) ? node.value : null;
    // All keys of a section or all entries of a list of sections commented out: as if it were not there.
    if (value === null && key?.shape === "section") return Object.create(null);
    if (value === null && key?.shape === "list" && key.item.shape === "section") return undefined;
    if (typeof value !== "string" || key === undefined) return value;
    const filled = substitute(value, env);
    for (const problem of filled.problems) complain(path, problem);
    if (filled.used) environment.add(pathText(path));
    if (key.note.file !== undefined && filled.text !== "") return resolve(folder, filled.text);
    return filled.used ? coerce(filled.text, key) : filled.text;
  };

  try {
    const value = convert(document.contents, root, []);
    if (typeof value === "object" && value !== null && !Array.isArray(value)) {
      return result(value as Readonly<Record<string, unknown>>, true);
    }
    complain([], "the configuration must hold sections of keys, like vmray:");
  } catch (thrown) {
    if (!(thrown instanceof TooLarge)) throw thrown;
    complain([], thrown.message);
  }
  return result({}, false);
}
