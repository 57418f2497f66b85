/**
 * What a scenario says of a content: which rule is meant, and what it tells at a time.
 *
 * The first rule of the scenario whose keys all match decides. Found by index, so that ten thousand rules for
 * hashes and URLs cost one look-up. Pure functions.
 */
import type { Judgement } from "./judgement.ts";
import type { ContentRule, Told } from "./scenario.ts";

export type ContentFacts = {
  /** Lower case. */
  readonly sha256: string;
  readonly filename: string;
  /** As it was submitted; null for a file. */
  readonly url: string | null;
};

export type RuleBook = { readonly find: (facts: ContentFacts) => ContentRule | undefined };

/** `*` stands for any text; case makes no difference. */
function globMatches(pattern: string, text: string): boolean {
  const parts = pattern.toLowerCase().split("*");
  const name = text.toLowerCase();
  const [first = "", ...rest] = parts;
  const last = rest.pop();
  if (last === undefined) return name === first;
  if (!name.startsWith(first)) return false;
  let at = first.length;
  for (const part of rest) {
    const found = name.indexOf(part, at);
    if (found < 0) return false;
    at = found + part.length;
  }
  return name.length - last.length >= at && name.endsWith(last);
}

const hostOf = (url: string): string => URL.parse(url)?.hostname.toLowerCase().replace(/\.$/, "") ?? "";

function matches({ match }: ContentRule, facts: ContentFacts): boolean {
  if (match.sha256 !== undefined && match.sha256 !== facts.sha256) return false;
  if (match.filename !== undefined && (facts.url !== null || !globMatches(match.filename, facts.filename)))
    return false;
  if (match.url !== undefined && match.url !== facts.url) return false;
  if (match.url_prefix !== undefined && facts.url?.startsWith(match.url_prefix) !== true) return false;
  if (match.url_host !== undefined) {
    if (facts.url === null) return false;
    const host = hostOf(facts.url);
    const wanted = match.url_host.toLowerCase();
    if (host !== wanted && !host.endsWith(`.${wanted}`)) return false;
  }
  return true;
}

export function createRuleBook(rules: readonly ContentRule[]): RuleBook {
  const byKey = new Map<string, number[]>();
  const others: number[] = [];
  rules.forEach((rule, index) => {
    const key = rule.match.sha256 ?? rule.match.url;
    if (key === undefined) others.push(index);
    else byKey.set(key, [...(byKey.get(key) ?? []), index]);
  });
  return {
    find(facts) {
      const candidates = [
        ...(byKey.get(facts.sha256) ?? []),
        ...(byKey.get(facts.url ?? "") ?? []),
        ...others,
      ];
      for (const index of candidates.toSorted((a, b) => a - b)) {
        const rule = rules[index];
        if (rule !== undefined && matches(rule, facts)) return rule;
      }
      return undefined;
    },
  };
}

/** A judgement with what the scenario tells laid over it. */
export function overlay(base: Judgement, told: Told): Judgement {
  const outcome = told.verdict ?? base.outcome;
  const bad = outcome === "malicious" || outcome === "suspicious";
  return {
    ...base,
    outcome,
    why: told.reason ?? (told.verdict === undefined ? base.why : "The scenario says so."),
    threatNames: told.threat_names ?? (bad ? base.threatNames : []),
    classifications: told.classifications ?? (bad ? base.classifications : undefined),
    vtis: told.vtis ?? (bad ? base.vtis : undefined),
    mitre: told.mitre ?? (bad ? base.mitre : undefined),
    iocs: told.iocs ?? (bad ? base.iocs : undefined),
    reason: told.reason ?? base.reason,
  };
}

/** What is said of a content `elapsed` milliseconds after its first analysis finished. */
export function judgementAt(base: Judgement, rule: ContentRule | undefined, elapsed: number): Judgement {
  if (rule === undefined) return base;
  return rule.then
    .filter((step) => elapsed >= step.after)
    .toSorted((a, b) => a.after - b.after)
    .reduce(overlay, { ...overlay(base, rule), hasErrors: rule.has_errors });
}
