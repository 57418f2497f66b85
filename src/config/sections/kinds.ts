/**
 * The kinds of values a configuration holds, each with its check, and rules over several keys.
 *
 * Sizes are written as 64MB or 512KB (powers of 1024) and become bytes; durations as 30s, 5m, 1h, 7d and
 * become milliseconds.
 */
import { z } from "zod";
import { parseDuration, parseSize, SIZE_UNITS, TIME_UNITS } from "../../units.ts";
import { HOST_PORT, type Problematic, readControlAddress, readHostPort } from "../address.ts";
import { type FileKind, type KeyNote, noted } from "../note.ts";

/** A key with its meaning. */
export const key = <T extends z.core.$ZodType>(description: string, schema: T, note: KeyNote = {}): T =>
  noted(schema, { description, ...note });

// ---- kinds of values

function quantity(
  parse: (text: string) => number | null,
  units: Readonly<Record<string, number>>,
  like: string,
  bounds: { readonly min: string; readonly max: string },
) {
  const names = Object.keys(units);
  const advice = `must be a number with a unit, like ${like} (${names.join(", ")})`;
  const min = parse(bounds.min) ?? 0;
  const max = parse(bounds.max) ?? Number.MAX_SAFE_INTEGER;
  return z
    .string(advice)
    .regex(new RegExp(`^ *\\d{1,15}(\\.\\d{1,6})? ?(${names.join("|")}) *$`), advice)
    .transform((text, context) => {
      const value = parse(text);
      if (value !== null && value >= min && value <= max) return value;
      context.addIssue({ code: "custom", message: `must be from ${bounds.min} to ${bounds.max}` });
      return z.NEVER;
    });
}

export const size = (min: string, max: string) =>
  noted(quantity(parseSize, SIZE_UNITS, "64MB", { min, max }), { kind: `size, ${min} to ${max}` });
export const duration = (min: string, max: string) =>
  noted(quantity(parseDuration, TIME_UNITS, "30s", { min, max }), { kind: `duration, ${min} to ${max}` });
/** A wait that ends in a timer; timers of the runtime end at 2^31 ms. */
export const wait = () => duration("1ms", "24d");

/** Text that `read` turns into its normal form. */
export function text(kind: string, read: (value: string) => string | Problematic) {
  const checked = z.string().transform((value, context) => {
    const result = read(value);
    if (typeof result === "string") return result;
    context.addIssue({ code: "custom", message: result.problem });
    return z.NEVER;
  });
  return noted(checked, { kind });
}

export function hostPort(minPort: 0 | 1 = 0) {
  const checked = z.string().regex(HOST_PORT, "must be HOST:PORT, like 127.0.0.1:25");
  return noted(
    checked.superRefine((value, context) => {
      if (!HOST_PORT.test(value)) return;
      const result = readHostPort(value, minPort);
      if ("problem" in result) context.addIssue({ code: "custom", message: result.problem });
    }),
    { kind: "`HOST:PORT`" },
  );
}

export function controlAddress() {
  return noted(
    z.string().superRefine((value, context) => {
      const result = readControlAddress(value);
      if ("problem" in result) context.addIssue({ code: "custom", message: result.problem });
    }),
    { kind: "`unix:/PATH` or `HOST:PORT`" },
  );
}

export const path = (file: FileKind) =>
  noted(
    z
      .string()
      .min(1, "must name a file")
      .max(4096, "must be at most 4096 characters")
      .regex(/^[^\0]*$/, "must not hold a NUL character"),
    { kind: file === "folder" ? "folder" : file === "written" ? "file" : `file (${file})`, file },
  );

/** Text in the header of a syslog message: RFC 5424 section 6, PRINTUSASCII. */
export const printable = (max: number) =>
  noted(
    z
      .string()
      .regex(new RegExp(`^[!-~]{1,${max}}$`), `must be 1 to ${max} printable ASCII characters, no space`),
    { kind: "text" },
  );

export const choice = <const T extends readonly string[]>(names: T) => z.enum(names);
export const whole = (min: number, max: number) =>
  noted(z.int().min(min).max(max), { kind: `number, ${min} to ${max}` });
export const flag = () => noted(z.boolean(), { kind: "`true` or `false`" });
export const destinationName = () =>
  noted(
    z.string().regex(/^[a-z0-9][a-z0-9_-]{0,62}$/, "must be 1 to 63 lower-case letters, digits, - and _"),
    { kind: "name" },
  );
export const template = (max: number) =>
  noted(z.string().min(1, "is empty").max(max), { kind: "Liquid template", template: true });

// ---- rules over several keys

export type Conflict = { readonly path: readonly (string | number)[]; readonly message: string };
export type Unchecked = Readonly<Record<string, unknown>>;

/**
 * A rule over the keys of one section. It also runs where single keys are wrong, so that all problems are
 * listed at once: what it gets is unchecked.
 */
export function rule(find: (section: Unchecked) => readonly Conflict[]) {
  return z.core._check<object>(
    (payload) => {
      const section: unknown = payload.value;
      if (typeof section !== "object" || section === null || Array.isArray(section)) return;
      for (const { path: where, message } of find(section as Unchecked)) {
        payload.issues.push({ code: "custom", path: [...where], message, input: payload.value });
      }
    },
    { when: () => true },
  );
}

export const when = (broken: boolean, name: string, message: string): readonly Conflict[] =>
  broken ? [{ path: name === "" ? [] : [name], message }] : [];

export const isEmpty = (value: unknown): boolean =>
  value === undefined || (Array.isArray(value) && value.length === 0);

export const VERDICTS = ["malicious", "suspicious", "not_available", "clean"] as const;
