/**
 * Reads the constant texts of a script: its literals, and what it puts together from them.
 *
 * Pages that smuggle files or hide where they lead write their texts in pieces, escaped, encoded or reversed. The
 * script is not run: it is read once from start to end, literals are joined by + and by the usual functions
 * (concat, join, atob, unescape, fromCharCode ...), and names stand for the constants that were last given to
 * them. What takes a branch, a loop or a key is not followed. The work is bounded by eight times the length of
 * the script; where that is not enough, each literal is given as it is written. Nothing throws.
 */
import { base64Bytes, looksLikeFile, percentDecoded, unescaped } from "./decoding.ts";
import { createLexer, fromCodes, literalText, patternEnd } from "./script-lexer.ts";

export type ScriptFinds = {
  /** A constant text, as whole as it could be put together. */
  readonly onText: (text: string) => void;
  /** Bytes that a script writes as base64 or numbers and that begin as a file does. */
  readonly onFile: (bytes: Uint8Array) => void;
  /** Code and comments between the literals, where a URL stands in them. */
  readonly onCode: (code: string) => void;
  /** A name under which the script saves a file. */
  readonly onFileName: (name: string) => void;
};

type Value = string | number | List | null;
/** Never holds another list: what is nested is laid flat. */
type List = readonly (string | number | null)[];

/** What stands between two brackets, while it is read. */
type Frame = {
  readonly kind: "(" | "[" | "{";
  /** Name of the function called, "" for plain brackets. */
  readonly callee: string;
  /** What a method is called on, or an index is taken of. */
  readonly self: Value | undefined;
  readonly values: Value[];
  /** What was added up so far, and the operand after that; undefined where there is none. */
  sum: Value | undefined;
  last: Value | undefined;
  target: { readonly name: string; readonly append: boolean } | null;
};

const MAX_FRAMES = 500;
const WORK_FACTOR = 8;
const SPACE = /\s/;
const NUMBER = /0x[0-9a-f]{1,12}|\d{1,15}(?:\.\d{1,15})?/iy;
const NAME = /[A-Za-z_$\u0080-\uffff][\w$\u0080-\uffff]*/y;
const MEMBER =
  /\s{0,64}(?:\?\.|\.)\s{0,64}([A-Za-z_$][\w$]{0,200})|\s{0,64}\[\s{0,64}(["'])([\w$]{1,200})\2\s{0,64}\]/y;
const AFTER_NAME = /\s{0,64}(\+=|=(?![=>])|\(|\[)?/y;
const FOLLOWS_NAME = /[\s.?[=+(]/;
const KEYWORDS: ReadonlySet<string> = new Set(
  "return var let const new typeof else in of function if while for do case throw void delete await async yield".split(
    " ",
  ),
);

/** False where the script was more work than the bound; what it puts together may then be missing. */
export function scanScript(code: string, finds: ScriptFinds): boolean {
  if (evaluate(code, finds)) return true;
  const lexer = createLexer(code, finds.onCode);
  for (let at = 0; at < code.length; ) {
    const literal = lexer.literal(at);
    if (literal !== null && literal.raw.length > 3) finds.onText(literalText(literal.raw));
    at = literal?.end ?? lexer.comment(at) ?? at + 1;
  }
  lexer.finish();
  return false;
}

function evaluate(code: string, finds: ScriptFinds): boolean {
  let work = WORK_FACTOR * code.length + 4096;
  const longest = 2 * code.length + 1024;
  let skipped = 0;
  const names = new Map<string, Value>();
  const used = new Set<string>();
  const given = new Set<List>();
  const open = { "(": 0, "[": 0, "{": 0 };
  const bottom = frame("{", "");
  const frames: Frame[] = [bottom];
  let top = bottom;
  const lexer = createLexer(code, finds.onCode);

  /** False where the bound is reached. */
  const spend = (amount: number): boolean => {
    work -= amount;
    return work >= 0;
  };

  const give = (value: Value | undefined): void => {
    if (typeof value === "string") {
      if (value.length > 3 && spend(value.length)) finds.onText(value);
    } else if (isList(value) && !given.has(value)) {
      given.add(value);
      giveList(value);
    }
  };
  const giveList = (list: List): void => {
    const numbers = list.filter((item) => typeof item === "number");
    const texts = list.filter((item) => typeof item === "string");
    if (numbers.length === list.length) {
      if (numbers.length >= 8) giveNumbers(numbers);
      return;
    }
    if (texts.length >= 8 && texts.length === list.length && texts.every((text) => CHAR_CODE.test(text))) {
      giveNumbers(texts.map(Number));
      return;
    }
    for (const text of texts) give(text);
    const length = texts.reduce((sum, text) => sum + text.length, 0);
    if (texts.length > 1 && texts.length === list.length && work > length) give(texts.join(""));
  };
  const giveNumbers = (numbers: readonly number[]): void => {
    if (numbers.every((code) => code >= 0 && code < 256)) {
      const bytes = Uint8Array.from(numbers);
      if (looksLikeFile(bytes)) {
        finds.onFile(bytes);
        return;
      }
    }
    give(fromCodes(numbers));
  };

  const plus = (left: Value, right: Value): Value => {
    if (typeof left === "number" && typeof right === "number") return left + right;
    if (right === null || isList(right) || isList(left)) {
      give(left);
      return typeof right === "string" ? right : null;
    }
    if (left === null) return right;
    const text = `${left}${right}`;
    return text.length <= longest && spend(1) ? text : null;
  };
  const total = (of: Frame): Value | undefined => {
    if (of.sum === undefined) return of.last;
    return of.last === undefined ? of.sum : plus(of.sum, of.last);
  };
  /** Ends an expression; its value goes to its name, or is returned. */
  const finish = (): Value | undefined => {
    const value = total(top);
    const { target } = top;
    top.sum = undefined;
    top.last = undefined;
    top.target = null;
    if (target === null || value === undefined) return value;
    if (/(?:^|\.)download$/.test(target.name) && typeof value === "string") finds.onFileName(value);
    const before = names.get(target.name) ?? null;
    if (target.append && before !== null) {
      names.set(target.name, plus(before, value));
    } else {
      if (!used.has(target.name)) give(before);
      used.delete(target.name);
      names.set(target.name, value);
    }
    return null;
  };
  const separate = (): void => give(finish());
  const operand = (value: Value): void => {
    if (top.last !== undefined) separate();
    top.last = value;
  };
  const enter = (entered: Frame): void => {
    if (frames.length >= MAX_FRAMES) {
      skipped++;
      give(entered.self);
      return;
    }
    open[entered.kind]++;
    frames.push(entered);
    top = entered;
  };
  const leaveTop = (): void => {
    const left = top;
    const value = finish();
    frames.pop();
    open[left.kind]--;
    top = frames.at(-1) ?? bottom;
    if (left.kind === "{") {
      give(value);
      return;
    }
    if (value !== undefined) left.values.push(value);
    top.last = resultOf(left);
  };
  const leave = (kind: Frame["kind"]): void => {
    if (skipped > 0) {
      skipped--;
    } else if (open[kind] === 0) {
      separate();
    } else {
      while (top.kind !== kind) leaveTop();
      leaveTop();
    }
  };

  const resultOf = ({ kind, callee, self, values }: Frame): Value => {
    if (kind === "[") {
      if (self === undefined) return spend(values.length) ? values.flat() : null;
      const [index] = values;
      if (isList(self) && typeof index === "number") return self[index] ?? null;
      give(self);
    } else if (callee === "" && self === undefined) {
      const result = values.pop() ?? null;
      for (const value of values) give(value);
      return result;
    } else {
      const method = callee.slice(callee.lastIndexOf(".") + 1);
      const owner = self ?? names.get(callee.slice(0, Math.max(0, callee.length - method.length - 1)));
      const result = resultOfCall(method, callee, owner, values);
      if (result !== undefined) return result;
      const name = savedName(method, values);
      if (name !== null) finds.onFileName(name);
      give(self);
    }
    for (const value of values) give(value);
    return null;
  };

  /** The value of a call, undefined where it is not one that is known. */
  const resultOfCall = (
    method: string,
    callee: string,
    owner: Value | undefined,
    args: readonly Value[],
  ): Value | undefined => {
    const [first] = args;
    switch (method) {
      case "atob":
        return typeof first === "string" ? decoded(first) : undefined;
      case "unescape":
        return typeof first === "string" && spend(first.length) ? unescaped(first) : undefined;
      case "decodeURIComponent":
      case "decodeURI":
        return typeof first === "string" && spend(first.length) ? percentDecoded(first) : undefined;
      case "fromCharCode":
      case "fromCodePoint":
        return codesToText(args);
      case "apply":
      case "call":
        return /fromC(?:harCode|odePoint)\.\w+$/.test(callee) ? codesToText(args.slice(1)) : undefined;
    }
    if (isList(owner) && method === "map" && owner.every((item) => typeof item === "number")) {
      // Nearly always to make characters of numbers.
      give(owner);
      return spend(owner.length) ? [...fromCodes(owner)] : undefined;
    }
    if (typeof owner === "string") return ofText(method, owner, args, spend);
    return isList(owner) ? ofList(method, owner, args, spend) : undefined;
  };
  const decoded = (text: string): Value | undefined => {
    if (!spend(text.length)) return undefined;
    const bytes = base64Bytes(text);
    if (bytes === null) return undefined;
    if (!looksLikeFile(bytes)) return bytes.toString("latin1");
    finds.onFile(bytes);
    return null;
  };
  const codesToText = (args: readonly Value[]): Value | undefined => {
    const codes = args.flat().filter((code) => typeof code === "number");
    return codes.length > 0 && spend(codes.length) ? fromCodes(codes) : undefined;
  };

  const known = (name: string): Value => {
    const value = names.get(name) ?? null;
    if (value !== null) used.add(name);
    return value;
  };
  const template = (raw: string): Value => {
    let value: Value = "";
    for (const [index, piece] of raw.split(/\$\{([^{}]{0,200})\}/).entries()) {
      const part = index % 2 === 0 ? literalText(piece) : known(piece.trim());
      if (part !== "") value = plus(value, part);
    }
    return value;
  };
  /** What follows a name: a call, an index, a value given to it, or none of these. */
  const readName = (name: string, from: number): number => {
    if (KEYWORDS.has(name)) {
      separate();
      return from;
    }
    let chain = name;
    let at = from;
    if (!FOLLOWS_NAME.test(code.charAt(at))) {
      operand(known(chain));
      return at;
    }
    for (let members = 0; members < 20; members++) {
      const member = matchAt(MEMBER, code, at);
      if (member === null) break;
      chain += `.${member[1] ?? member[3]}`;
      at = MEMBER.lastIndex;
    }
    const after = matchAt(AFTER_NAME, code, at)?.[1];
    if (after === undefined) {
      operand(known(chain));
      return at;
    }
    const behind = AFTER_NAME.lastIndex;
    if (top.last !== undefined || after.endsWith("=")) separate();
    if (after === "(") enter(frame("(", chain));
    else if (after === "[") enter(frame("[", "", names.get(chain) ?? null));
    else top.target = { name: chain, append: after === "+=" };
    return behind;
  };
  /** A member of the text or list just read, null where none follows. */
  const readMember = (at: number): number | null => {
    if (typeof top.last !== "string" && !isList(top.last)) return null;
    const member = matchAt(MEMBER, code, at);
    if (member === null) return null;
    const behind = MEMBER.lastIndex;
    const self = top.last;
    top.last = undefined;
    if (code[behind] === "(") {
      enter(frame("(", member[1] ?? member[3] ?? "", self));
      return behind + 1;
    }
    give(self);
    top.last = null;
    return behind;
  };
  /** Behind a pattern, null where the slash is a division. */
  const readPattern = (at: number): number | null => {
    const end = top.last === undefined ? patternEnd(code, at) : -1;
    if (end < 0) return null;
    // A plain pattern is as good as a text: "a-b".replace(/-/g, "").
    const pattern = code.slice(at + 1, end - 1).replace(/\\(.)/g, "$1");
    operand(/^[^[\]{}()*+?^$|.]+$/.test(pattern) ? pattern : null);
    return end + (matchAt(/[a-z]{0,8}/y, code, end)?.[0].length ?? 0);
  };
  const readMark = (char: string, at: number): number => {
    if (char === "." || char === "[") {
      const behind = readMember(at);
      if (behind !== null) return behind;
    }
    if (char === "/") {
      const behind = readPattern(at);
      if (behind !== null) return behind;
    }
    if (char === "+") {
      if (top.last !== undefined) {
        top.sum = total(top);
        top.last = undefined;
      }
    } else if (char === "(" || char === "[") {
      const self = char === "[" ? top.last : undefined;
      if (self === undefined) {
        if (top.last !== undefined) separate();
      } else {
        top.last = undefined;
      }
      enter(frame(char, "", self));
    } else if (char === "{") {
      separate();
      enter(frame("{", ""));
    } else if (char === ")") leave("(");
    else if (char === "]") leave("[");
    else if (char === "}") leave("{");
    else if (char === "," && top.kind !== "{") {
      const value = finish();
      if (value !== undefined) top.values.push(value);
    } else if (char !== "." && !SPACE.test(char)) {
      separate();
      // Behind a slash that divides no pattern begins.
      if (char === "/") top.last = null;
    }
    return at + 1;
  };

  for (let at = 0; at < code.length; ) {
    if (work < 0) return false;
    const literal = lexer.literal(at);
    if (literal !== null) {
      operand(literal.raw.includes("${") ? template(literal.raw) : literalText(literal.raw));
      at = literal.end;
      continue;
    }
    const behind = lexer.comment(at);
    if (behind !== null) {
      at = behind;
      continue;
    }
    const char = code.charAt(at);
    if (char === " " || char === "\n") {
      at++;
      continue;
    }
    const name = NAME_START.test(char) ? matchAt(NAME, code, at)?.[0] : undefined;
    if (name !== undefined) {
      at = readName(name, at + name.length);
    } else if (char >= "0" && char <= "9") {
      const number = matchAt(NUMBER, code, at)?.[0] ?? char;
      operand(Number(number));
      at += number.length;
    } else {
      at = readMark(char, at);
    }
  }
  while (frames.length > 1) leaveTop();
  separate();
  for (const [name, value] of names) if (!used.has(name)) give(value);
  if (work < 0) return false;
  lexer.finish();
  return true;
}

const CHAR_CODE = /^\d{2,3}$/;
const NAME_START = /[A-Za-z_$\u0080-\uffff]/;

function frame(kind: Frame["kind"], callee: string, self?: Value): Frame {
  return { kind, callee, self, values: [], sum: undefined, last: undefined, target: null };
}

function isList(value: Value | undefined): value is List {
  return Array.isArray(value);
}

function matchAt(pattern: RegExp, text: string, at: number): RegExpExecArray | null {
  pattern.lastIndex = at;
  return pattern.exec(text);
}

type Spend = (amount: number) => boolean;

/** What a method of a text gives, undefined where it is not one that is known. */
function ofText(method: string, self: string, args: readonly Value[], spend: Spend): Value | undefined {
  const [first, second] = args;
  switch (method) {
    case "concat":
      return args.every((arg) => typeof arg === "string") && spend(self.length)
        ? self + args.join("")
        : undefined;
    case "split":
      return typeof first === "string" && spend(self.length) ? self.split(first) : undefined;
    case "replace":
    case "replaceAll":
      if (typeof first !== "string" || typeof second !== "string" || first === "") return undefined;
      return spend(self.length * (1 + second.length / first.length))
        ? self.replaceAll(first, () => second)
        : undefined;
    case "toString":
    case "trim":
      return self;
    case "substring":
    case "substr":
    case "slice": {
      if (typeof first !== "number" || !spend(self.length)) return undefined;
      if (typeof second !== "number") return self.slice(first);
      return self.slice(first, method === "substr" ? first + second : second);
    }
    default:
      return undefined;
  }
}

function ofList(method: string, self: List, args: readonly Value[], spend: Spend): Value | undefined {
  switch (method) {
    case "join": {
      const [glue = ","] = args;
      if (typeof glue !== "string" || self.includes(null)) return undefined;
      const length = self.reduce<number>((sum, item) => sum + String(item).length + glue.length, 0);
      return spend(length) ? self.join(glue) : undefined;
    }
    case "reverse":
      return spend(self.length) ? self.toReversed() : undefined;
    default:
      return undefined;
  }
}

const SAVING: ReadonlySet<string> = new Set([
  "saveAs",
  "msSaveBlob",
  "msSaveOrOpenBlob",
  "File",
  "saveFile",
  "download",
]);

/** The name a file is saved under by the functions that save one. */
function savedName(method: string, [first, second]: readonly Value[]): string | null {
  if (typeof second !== "string") return null;
  if (method === "setAttribute") return first === "download" ? second : null;
  return SAVING.has(method) ? second : null;
}
