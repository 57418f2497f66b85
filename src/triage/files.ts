/**
 * Loads the files that the policy names: lists and the most visited domains.
 *
 * In goes the `triage` section, out come the policy made ready and the lists, with every line that is no good. A bad
 * line costs itself alone: a feed that breaks must not stop the sensor. A file that cannot be read is CONFIG_INVALID.
 */
import { readList, utf8 } from "../config/files.ts";
import { printable } from "../config/problem.ts";
import { SensorError } from "../errors.ts";
import type { Log } from "../log.ts";
import { createLists, type ListEntry, type Lists, MAX_COMMENT, readListValue } from "./lists.ts";
import { compilePolicy, type Policy, type TriageSettings } from "./policy.ts";
import { readPopularDomains } from "./popular.ts";

/** Values of all list files together. */
const MAX_ENTRIES = 1_000_000;
/** Bad lines of one file that are told. */
const MAX_TOLD = 20;

export type LineProblem = { readonly line: number; readonly message: string };

/** The entries of a list file and what is wrong with the other lines, all of them counted and the first told. */
export function readListText(
  text: string,
  { list, kind }: Pick<ListEntry, "list" | "kind">,
): {
  readonly entries: readonly ListEntry[];
  readonly problems: readonly LineProblem[];
  readonly bad: number;
} {
  const entries: ListEntry[] = [];
  const problems: LineProblem[] = [];
  let bad = 0;
  for (const [n, line] of text.split("\n").entries()) {
    // A # within a URL is no comment.
    const mark = /(?:^|\s)#/.exec(line)?.index ?? line.length;
    const written = line.slice(0, mark).trim();
    if (written === "") continue;
    const value = readListValue(list, kind, written);
    if (typeof value !== "string") {
      bad += 1;
      if (problems.length < MAX_TOLD) problems.push({ line: n + 1, message: value.problem });
      continue;
    }
    const comment = line
      .slice(mark)
      .replace(/^\s*#+\s*/, "")
      .trim()
      .slice(0, MAX_COMMENT);
    entries.push({
      list,
      kind,
      value,
      comment: comment === "" ? null : comment,
      addedAt: null,
      expiresAt: null,
    });
  }
  return { entries, problems, bad };
}

/** A file of the deny list. */
export type DenyList = {
  readonly name: string;
  /** Of what is in it. */
  readonly fingerprint: string;
  readonly entries: readonly ListEntry[];
};

export type LoadedPolicy = {
  readonly policy: Policy;
  readonly lists: Lists;
  readonly denyLists: readonly DenyList[];
};

/** Throws SensorError CONFIG_INVALID for a file that cannot be read. */
export async function loadPolicy(settings: TriageSettings, log: Log): Promise<LoadedPolicy> {
  const entries: ListEntry[] = [];
  const denyLists: DenyList[] = [];
  for (const { file, ...about } of settings.lists) {
    const bytes = await bytesOf(file);
    const text = utf8(bytes);
    if (text === null) throw unreadable(file, "is not UTF-8 text");
    const read = readListText(text, about);
    if (entries.length + read.entries.length > MAX_ENTRIES) {
      throw unreadable(file, `makes more than ${MAX_ENTRIES} entries of all lists together`);
    }
    for (const entry of read.entries) entries.push(entry);
    if (about.list === "deny") {
      const fingerprint = new Bun.CryptoHasher("sha256").update(bytes).digest("hex");
      denyLists.push({ name: `${about.kind} ${file}`, fingerprint, entries: read.entries });
    }
    for (const { line, message } of read.problems) {
      log.warn("a line of a list is left out", { at: `${file}:${line}`, problem: message });
    }
    if (read.bad > read.problems.length) log.warn("more lines are left out", { file, lines: read.bad });
    log.info("list loaded", { file, list: about.list, kind: about.kind, entries: read.entries.length });
  }
  const { popular_domains_file: file } = settings;
  const popular = file === undefined ? null : await readPopularDomains(await bytesOf(file));
  if (popular !== null) log.info("most visited domains loaded", { file: file ?? "", domains: popular.size });
  return { policy: compilePolicy(settings, popular), lists: createLists(entries), denyLists };
}

async function bytesOf(file: string): Promise<Uint8Array> {
  const read = await readList(file);
  if ("fault" in read) throw unreadable(file, read.fault);
  return read;
}

function unreadable(file: string, fault: string): SensorError {
  return new SensorError("CONFIG_INVALID", `the file ${printable(file)} ${fault}`);
}
