/**
 * The versions of the platform that the simulator can be: which fields and paths each has, and how it forms links.
 *
 * Answers are made with the names of 2026.2; an older version leaves out what it did not have.
 */
import type { Json, JsonObject } from "./objects.ts";

/** Oldest first. */
export const PLATFORMS = ["2.1", "4.2", "2026.2"] as const;
export type Platform = (typeof PLATFORMS)[number];

/** `version` of system_info. */
export const VERSIONS: Readonly<Record<Platform, string>> = {
  "2.1": "2.1.0",
  "4.2": "4.2.0",
  "2026.2": "2026.2.1",
};

export const isAtLeast = (platform: Platform, least: Platform): boolean =>
  PLATFORMS.indexOf(platform) >= PLATFORMS.indexOf(least);

/** Fields that came with 4.0 and the versions after it: verdicts, states, what was counted, echoed settings. */
const NOT_IN_2 =
  /(?:^|_)verdict(?:_|$)|^submission_(?:status|has_recursive_errors|analyzer_mode_|analysis_cache_ids|job_cache_ids|billing_type|deletion_date|original_|parent_|reputation_lookup_cache_id|retention_period|shareable|submission_metadata)|^sample_(?:child_relations|parent_relations|display_url|pe_signature|imphash|ssdeephash)|^analysis_(?:billing_type|submission_ids|serialized_result)$|^(?:static_jobs|whois_jobs)$/;
/** Fields that came after 4.2. */
const NOT_IN_4 =
  /^submission_(?:consumed_quota|number_|quota_type|recursive$|submitter_email|triage_stage|triaged|used_cache)|^sample_(?:clusters|emailhash)$|^analysis_quota_type$/;

/** What takes out of an object, and of the lists in it, the fields that a version does not have. */
export function fieldsOf(platform: Platform): (object: JsonObject) => JsonObject {
  if (platform === "2026.2") return (object) => object;
  const known = new Map<string, boolean>();
  const has = (name: string): boolean => {
    let answer = known.get(name);
    if (answer === undefined) {
      answer = !NOT_IN_4.test(name) && !(platform === "2.1" && NOT_IN_2.test(name));
      known.set(name, answer);
    }
    return answer;
  };
  const strip = (value: Json): Json => {
    if (value === null || typeof value !== "object") return value;
    if (isList(value)) return value.map(strip);
    return stripObject(value);
  };
  const stripObject = (object: JsonObject): JsonObject =>
    Object.fromEntries(
      Object.entries(object).flatMap(([name, value]) => (has(name) ? [[name, strip(value)]] : [])),
    );
  return stripObject;
}

const isList = (value: Json): value is readonly Json[] => Array.isArray(value);

/** The page of a sample for people, as this version writes its address. */
export const sampleLink = (platform: Platform, webif: string, id: number): string =>
  platform === "2026.2" ? `${webif}/samples/${id}` : `${webif}/user/sample/view?id=${id}`;

/** The id of the sample that a page for people shows; undefined where the address is none. */
export function linkedSample(path: string, query: URLSearchParams): number | undefined {
  const id =
    /^(?:\/simulator)?\/samples\/(\d{1,15})$/.exec(path)?.[1] ??
    (path === "/user/sample/view" ? query.get("id") : null);
  return id !== null && /^\d{1,15}$/.test(id) ? Number(id) : undefined;
}
