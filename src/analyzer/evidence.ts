/**
 * Why a bad verdict is bad: threat names, classifications, indicators, techniques and IOCs of the sample.
 *
 * Takes a verdict and the sample it is about, gives the verdict with what VMRay says. A verdict never waits for it
 * longer than a few looks: what VMRay is not done with or cannot give by then is left out and the reason says so.
 * Throws only where VMRay asks to wait (VMRAY_THROTTLED: the step is then taken again) and the reason of the signal.
 * Everything is bounded; all of it is text of a hostile file.
 */
import { isIP } from "node:net";
import type { ContentVerdict, Evidence, Indicator, Iocs, Technique } from "../verdict/verdict.ts";
import type { FoundIocs, Sample } from "./api-shapes.ts";
import type { Listed, VmrayClient } from "./client.ts";
import { joined, oneLine, VmrayError } from "./vmray-error.ts";

const MAX_NAMES = 50;
const MAX_NAME = 200;
const MAX_CLASSIFICATIONS = 20;
const MAX_INDICATORS = 20;
const MAX_TECHNIQUES = 30;
const MAX_TACTICS = 5;
/** Of each kind. */
const MAX_IOCS = 20;
const MAX_URL = 1024;
const LEAST_SCORE = 3;
/** Looks at lists that are not finished, over all of them, and the time between two, milliseconds. */
const MAX_WAITS = 3;
const WAIT = 1000;

type Sleep = (ms: number, signal: AbortSignal) => Promise<void>;

/** The verdict with its evidence where it is malicious or suspicious and VMRay named its sample, else unchanged. */
export async function withEvidence(
  client: VmrayClient,
  verdict: ContentVerdict,
  sample: Sample | null,
  signal: AbortSignal,
  sleep: Sleep = pause,
): Promise<ContentVerdict> {
  if (sample === null || (verdict.verdict !== "malicious" && verdict.verdict !== "suspicious"))
    return verdict;
  const id = sample.sample_id;
  const lacking: string[] = [];
  let waits = 0;

  async function read<T>(what: string, call: () => Promise<T | null>): Promise<T | null> {
    try {
      return await call();
    } catch (thrown) {
      if (!(thrown instanceof VmrayError) || thrown.code === "VMRAY_THROTTLED") throw thrown;
      lacking.push(what);
      return null;
    }
  }
  async function listed<T>(what: string, call: () => Promise<Listed<T> | null>): Promise<T | null> {
    for (;;) {
      const list = await read(what, call);
      if (list === null || list.finished) return list?.items ?? null;
      if (waits >= MAX_WAITS) {
        lacking.push(what);
        return list.items;
      }
      waits += 1;
      await sleep(WAIT, signal);
    }
  }

  const names = await read("threat names", () => client.threatNames(id, signal));
  const classes = await read("classifications", () => client.classifications(id, signal));
  const indicators = await listed("indicators", () => client.indicators(id, signal));
  const techniques = await listed("techniques", () => client.techniques(id, signal));
  const iocs = await listed("IOCs", () => client.iocs(id, signal));
  const evidence: Evidence = {
    classifications: texts(classes ?? sample.sample_classifications, MAX_CLASSIFICATIONS),
    indicators: worst(indicators ?? []),
    techniques: named(techniques ?? []),
    iocs: boundIocs(iocs),
    ...(lacking.length > 0 && { lacking: true }),
  };
  const gap = lacking.length === 0 ? null : `VMRay did not give all of its ${lacking.join(", ")}`;
  return {
    ...verdict,
    reason: joined(verdict.reason, gap),
    threat_names: texts(names ?? sample.sample_threat_names, MAX_NAMES),
    evidence,
  };
}

async function pause(ms: number, signal: AbortSignal): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, ms);
  const onAbort = () => reject(signal.reason);
  if (signal.aborted) onAbort();
  signal.addEventListener("abort", onAbort, { once: true });
  try {
    await promise;
  } finally {
    clearTimeout(timer);
    signal.removeEventListener("abort", onAbort);
  }
}

function texts(values: readonly string[], limit: number): readonly string[] {
  const clean = values.map((value) => oneLine(value, MAX_NAME)).filter((value) => value !== "");
  return [...new Set(clean)].slice(0, limit);
}

function worst(found: readonly Indicator[]): readonly Indicator[] {
  const seen = new Map<string, Indicator>();
  for (const { category, operation, score } of found.toSorted((a, b) => b.score - a.score)) {
    if (score < LEAST_SCORE || seen.size >= MAX_INDICATORS) break;
    const one = { category: oneLine(category, MAX_NAME), operation: oneLine(operation), score };
    const key = `${one.category}\n${one.operation}`;
    if (!seen.has(key)) seen.set(key, one);
  }
  return [...seen.values()];
}

type FoundTechnique = {
  readonly technique_id: string;
  readonly technique?: string | null | undefined;
  readonly tactics: readonly string[];
};

function named(found: readonly FoundTechnique[]): readonly Technique[] {
  const seen = new Map<string, Technique>();
  for (const { technique_id, technique, tactics } of found) {
    if (seen.size >= MAX_TECHNIQUES) break;
    // "T1055", "T1055.012"
    if (!/^T\d{4,5}(\.\d{3})?$/.test(technique_id) || seen.has(technique_id)) continue;
    const name = oneLine(technique ?? "", MAX_NAME);
    seen.set(technique_id, { id: technique_id, name, tactics: texts(tactics, MAX_TACTICS) });
  }
  return [...seen.values()];
}

type Judged = {
  readonly ioc?: boolean | null | undefined;
  readonly verdict?: string | null | undefined;
  readonly severity?: string | null | undefined;
};

/** 2 malicious, 1 suspicious, 0 not told, -1 clean or no IOC at all. The severity stands for a missing verdict. */
function badness({ ioc, verdict, severity }: Judged): number {
  if (ioc === false) return -1;
  switch (verdict ?? severity) {
    case "malicious":
    case "blacklisted":
      return 2;
    case "suspicious":
      return 1;
    case "clean":
    case "not_suspicious":
    case "whitelisted":
      return -1;
    default:
      return 0;
  }
}

/** Worst first. A value that is not whole, or not what its list says, would be a false IOC: it is left out. */
function kept<T extends Judged>(
  items: readonly T[],
  values: (item: T) => readonly string[],
  fits: (value: string) => boolean,
): readonly string[] {
  const bad = items
    .filter((item) => badness(item) >= 0)
    .toSorted((a, b) => badness(b) - badness(a))
    .flatMap(values)
    // "www[.]example" is how people write what must not be clicked on, and matches nothing.
    .map((value) => value.replaceAll("[.]", "."))
    .filter((value) => fits(value) && oneLine(value, MAX_URL) === value);
  return [...new Set(bad)].slice(0, MAX_IOCS);
}

function boundIocs(found: FoundIocs | null): Iocs {
  return {
    urls: kept(
      found?.urls ?? [],
      ({ url }) => [url],
      (url) => url.length <= MAX_URL && url !== "",
    ),
    domains: kept(
      found?.domains ?? [],
      ({ domain }) => [domain],
      (domain) => /^[^\s/@]{1,253}$/.test(domain),
    ),
    ips: kept(
      found?.ips ?? [],
      ({ ip_address }) => [ip_address],
      (address) => isIP(address) !== 0,
    ),
    files: kept(
      found?.files ?? [],
      ({ hashes }) => hashes.map(({ sha256_hash }) => sha256_hash.toLowerCase()),
      (hash) => /^[0-9a-f]{64}$/.test(hash),
    ),
    email_addresses: kept(
      found?.email_addresses ?? [],
      ({ email_address }) => [email_address],
      (address) => /^[^\s@]{1,64}@[^\s@]{1,255}$/.test(address),
    ),
  };
}
