/**
 * What documents refer to: targets of links and the codes of Word's fields, which RTF and all ages of Word share.
 */
import type { ReadingBuilder } from "../reading.ts";
import type { OfficeFact, OfficeFlag } from "./flags.ts";
import { withoutConcatenation } from "./text.ts";

export const OFFICE_SOURCE = "office";
export const MACRO_SOURCE = "macro";

const WEB = /(?:https?|ftp):[\\/]{1,8}/gi;
const SCRIPT_SCHEME =
  /^(?:mhtml|x-usc|ms-msdt|ms-[a-z-]{1,40}|search-ms|search|javascript|vbscript|script|its|mk|shell|jar|ldap):/i;
const UNC = /^(?:file:\/{0,5})?\\\\[^\\/?.]|^\/\/[^/\\?.]|^file:(?:\/\/|\/{4,5})[^/\\]/i;
const MAX_TARGET = 16_384;

/** Gives the URLs of a link and tells what else it does. True where it leads to another machine. */
export function giveTarget(reading: ReadingBuilder, written: string): boolean {
  const target = written
    .slice(0, MAX_TARGET)
    .replace(/[\x00-\x1f]/g, "")
    .trim();
  if (SCRIPT_SCHEME.test(target)) fact(reading, "script_link");
  let remote = false;
  let last = -1;
  for (const { index } of target.matchAll(WEB)) {
    // A second one counts where a scheme inside a scheme begins it, as in "mhtml:http://a!x-usc:http://b".
    if (last >= 0 && !/[!:|]$/.test(target.slice(0, index))) continue;
    const end = target.indexOf("!", index);
    reading.url(target.slice(index), OFFICE_SOURCE);
    if (end > 0 && SCRIPT_SCHEME.test(target)) reading.url(target.slice(index, end), OFFICE_SOURCE);
    last = index;
    remote = true;
  }
  if (!remote && /^www\./i.test(target)) reading.url(target, OFFICE_SOURCE);
  if (UNC.test(target)) {
    fact(reading, "unc_link");
    remote = true;
  }
  return remote;
}

function fact(reading: ReadingBuilder, name: OfficeFact): void {
  reading.fact(name);
}

const MAX_FIELD = 32_768;
const WORD_OR_QUOTED = /"[^"]{0,4096}"|[^\s"]{1,4096}/g;
const INCLUDES: ReadonlySet<string> = new Set([
  "INCLUDEPICTURE",
  "INCLUDETEXT",
  "INCLUDE",
  "IMPORT",
  "RD",
  "DATABASE",
]);

/** Reads the code of one field, as `HYPERLINK "http://example.com"`. */
export function giveField(reading: ReadingBuilder, written: string): void {
  if (written.length > MAX_FIELD) reading.flag("office_fields_odd" satisfies OfficeFlag);
  const code = written
    .slice(0, MAX_FIELD)
    .replace(/[“”„]/g, '"')
    .replace(/[\x00-\x1f]/g, " ")
    .trim();
  const [first, ...rest] = code.match(WORD_OR_QUOTED) ?? [];
  if (first === undefined) return;
  const kind = unquoted(first).toUpperCase();
  const args = rest.filter((word) => !/^\\[a-z*@#!]$/i.test(word)).map(unquoted);
  // The name of a program may be hidden in another field; the word itself cannot.
  if (/\bDDE(?:AUTO)?\b/i.test(code)) {
    fact(reading, "dde");
    reading.text({ kind: "text", text: withoutConcatenation(code), source: OFFICE_SOURCE });
  } else if (kind === "HYPERLINK") {
    for (const arg of args) giveTarget(reading, arg);
  } else if (INCLUDES.has(kind)) {
    for (const arg of args) if (giveTarget(reading, arg)) fact(reading, "field_include");
  } else if (kind === "LINK") {
    for (const arg of args) if (giveTarget(reading, arg)) fact(reading, "linked_object");
  } else if (kind === "MACROBUTTON") {
    fact(reading, "macro_button");
  } else if (code.includes("://")) {
    reading.text({ kind: "text", text: code, source: OFFICE_SOURCE });
  }
}

function unquoted(word: string): string {
  return word.replace(/^"|"$/g, "").replaceAll("\\\\", "\\");
}

export type FieldReader = {
  readonly begin: () => void;
  /** What follows is the field's result, which is visible text. */
  readonly separate: () => void;
  readonly end: () => void;
  /** True where it belongs to the code of a field, and so is not visible. */
  readonly text: (piece: string) => boolean;
  readonly done: () => void;
};

const MAX_NESTED = 1000;

/** Puts the codes of fields together from their pieces, with fields inside fields. */
export function readFields(reading: ReadingBuilder): FieldReader {
  const open: { code: string; separated: boolean }[] = [];
  const end = (): void => {
    const field = open.pop();
    if (field === undefined) return;
    giveField(reading, field.code);
    // A field in the code of another one gives a part of that code.
    const outer = open.at(-1);
    if (outer !== undefined && !outer.separated) outer.code += quotedCharacters(field.code);
  };
  return {
    begin: () => {
      if (open.length >= MAX_NESTED) {
        reading.flag("office_fields_odd" satisfies OfficeFlag);
        end();
      }
      open.push({ code: "", separated: false });
    },
    separate: () => {
      const field = open.at(-1);
      if (field !== undefined) field.separated = true;
    },
    end,
    text: (piece) => {
      const field = open.at(-1);
      if (field === undefined || field.separated) return false;
      // One character over the bound is enough for it to be seen.
      if (field.code.length <= MAX_FIELD) field.code += piece.slice(0, MAX_FIELD + 1);
      return true;
    },
    done: () => {
      if (open.length > 0) reading.flag("office_fields_odd" satisfies OfficeFlag);
      while (open.length > 0) end();
    },
  };
}

const QUOTE_FIELD = /^\s*QUOTE((?:\s+\d{1,5}){1,2000})\s*$/i;

/** The text that `QUOTE 68 68 69` stands for; "" for any other field. */
function quotedCharacters(code: string): string {
  const numbers = QUOTE_FIELD.exec(code.slice(0, MAX_FIELD))?.[1];
  if (numbers === undefined) return "";
  return numbers
    .trim()
    .split(/\s+/)
    .map((number) => String.fromCharCode(Number(number)))
    .join("");
}
