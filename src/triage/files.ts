/**
 * Loads the files that the policy names: lists and the most visited domains.
 *
 * In goes the `triage` section, out come the policy made ready and the lists. Every line that is no good is logged and
 * costs itself alone: a feed that breaks must not stop the sensor. A file that cannot be read is CONFIG_INVALID.
 */
import { readList } from "../config/files.ts";
import { printable } from "../config/problem.ts";
import { SensorError } from "../errors.ts";
import type { Log } from "../log.ts";
import { type ListFile, readListFile } from "./list-file.ts";
import { type Lists, listsOf } from "./lists.ts";
import { compilePolicy, type Policy, type TriageSettings } from "./policy.ts";
import { readPopularDomains } from "./popular.ts";

/** Values of all list files together. */
const MAX_ENTRIES = 1_000_000;
/** A file of the deny list. */
export type DenyList = { readonly name: string } & Pick<ListFile, "fingerprint" | "count" | "entries">;

export type LoadedPolicy = {
  readonly policy: Policy;
  readonly lists: Lists;
  readonly denyLists: readonly DenyList[];
};

/** Throws SensorError CONFIG_INVALID for a file that cannot be read. */
export async function loadPolicy(settings: TriageSettings, log: Log): Promise<LoadedPolicy> {
  const files: ListFile[] = [];
  const denyLists: DenyList[] = [];
  let left = MAX_ENTRIES;
  for (const { file, ...about } of settings.lists) {
    const read = await readListFile(await bytesOf(file), about, left);
    if (read === "binary") throw unreadable(file, "is not UTF-8 text");
    if (read === "full")
      throw unreadable(file, `makes more than ${MAX_ENTRIES} entries of all lists together`);
    const { count, entries, problems, bad, fingerprint } = read;
    left -= count;
    files.push(read);
    if (about.list === "deny") denyLists.push({ name: `${about.kind} ${file}`, fingerprint, count, entries });
    for (const { line, message } of problems) {
      log.warn("a line of a list is left out", { at: `${file}:${line}`, problem: message });
    }
    if (bad > problems.length) log.warn("more lines are left out", { file, lines: bad });
    log.info("list loaded", { file, list: about.list, kind: about.kind, entries: count });
  }
  const { popular_domains_file: file } = settings;
  const popular = file === undefined ? null : await readPopularDomains(await bytesOf(file));
  if (popular !== null) log.info("most visited domains loaded", { file: file ?? "", domains: popular.size });
  return { policy: compilePolicy(settings, popular), lists: listsOf(files), denyLists };
}

async function bytesOf(file: string): Promise<Uint8Array> {
  const read = await readList(file);
  if ("fault" in read) throw unreadable(file, read.fault);
  return read;
}

function unreadable(file: string, fault: string): SensorError {
  return new SensorError("CONFIG_INVALID", `the file ${printable(file)} ${fault}`);
}
