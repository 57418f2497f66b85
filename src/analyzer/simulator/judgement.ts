/**
 * What the simulator decides about a content, and why. docs/simulator.md describes the same rules for people.
 *
 * A file is judged by its bytes and, where it is a zip, by its members (nested zips too, bounded); a URL by the
 * labels of its host name, and only under the names of RFC 2606, so that a real host is never accused. Pure
 * functions that never throw.
 */
import { type ZipBudget, zipMembers } from "./zip.ts";

/** `error`: the analysis fails, the submission ends with errors and no verdict. The rest are VMRay's verdicts. */
export type Outcome = "malicious" | "suspicious" | "error" | "not_available" | "clean";

export type Judgement = {
  readonly outcome: Outcome;
  readonly threatNames: readonly string[];
  /** One sentence for people, without any text of the content. */
  readonly why: string;
  readonly passwordProtected: boolean;
  /** It is protected, and the password that came with it opened every member it was tried on. */
  readonly opened: boolean;
};

/** The harmless test file of eicar.org, in two parts so that no scanner takes this program for it. */
export const EICAR = ["X5O!P%@AP[4\\PZX54(P^)7CC)7}$EICAR-STANDARD-", "ANTIVIRUS-TEST-FILE!$H+H*"].join("");
export const EICAR_THREAT_NAME = "EICAR-Test-File";
export const MARKER_PREFIX = "VMRAY-SIMULATOR: ";

/** Worst first: the first one found in a content decides. */
const OUTCOMES: readonly Outcome[] = ["malicious", "suspicious", "error", "not_available", "clean"];
const HOST_LABELS: Readonly<Record<string, Outcome>> = {
  malicious: "malicious",
  suspicious: "suspicious",
  error: "error",
  unknown: "not_available",
};
const RESERVED_HOST = /(?:^|\.)(?:test|example|invalid|localhost|example\.(?:com|net|org))$/;

const MAX_ZIP_DEPTH = 3;
const ZIP_BUDGET: Readonly<ZipBudget> = { members: 1000, bytes: 64 * 1024 ** 2 };
const MARKER_THREAT_NAME = "Simulator-Marker";

type Finding = { readonly outcome: Outcome; readonly rule: "eicar" | "marker"; readonly inside: boolean };

function findingIn(bytes: Uint8Array, inside: boolean): Finding | undefined {
  const content = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (content.includes(EICAR)) return { outcome: "malicious", rule: "eicar", inside };
  if (!content.includes(MARKER_PREFIX)) return undefined;
  const outcome = OUTCOMES.find((name) => content.includes(MARKER_PREFIX + name));
  return outcome === undefined ? undefined : { outcome, rule: "marker", inside };
}

type Search = {
  readonly findings: Finding[];
  readonly password: string | undefined;
  /** Members that are encrypted and stayed so, and those that the password opened. */
  locked: number;
  opened: number;
  readonly budget: ZipBudget;
};

function search(bytes: Uint8Array, depth: number, found: Search): void {
  const finding = findingIn(bytes, depth > 0);
  if (finding !== undefined) found.findings.push(finding);
  if (depth === MAX_ZIP_DEPTH) return;
  for (const member of zipMembers(bytes, found.budget, found.password)) {
    if (member.state === "encrypted") found.locked++;
    if (member.state !== "read") continue;
    if (member.sealed) found.opened++;
    search(member.bytes, depth + 1, found);
  }
}

/**
 * Judges the bytes of a file. Reads at most 1000 members and 64 MiB out of zips, three levels deep; encrypted
 * members only where `password` is the right one.
 */
export function judgeFile(bytes: Uint8Array, password?: string): Judgement {
  const found: Search = { findings: [], password, locked: 0, opened: 0, budget: { ...ZIP_BUDGET } };
  search(bytes, 0, found);
  const protection = {
    passwordProtected: found.locked + found.opened > 0,
    opened: found.opened > 0 && found.locked === 0,
  };
  const worst = found.findings.toSorted(
    (a, b) => OUTCOMES.indexOf(a.outcome) - OUTCOMES.indexOf(b.outcome),
  )[0];
  if (worst === undefined) {
    return found.locked > 0
      ? {
          outcome: "not_available",
          threatNames: [],
          why:
            password === undefined
              ? "The file is a zip with encrypted members, and no password came with it."
              : "The file is a zip with encrypted members that the password does not open.",
          ...protection,
        }
      : {
          outcome: "clean",
          threatNames: [],
          why: "The file holds neither the EICAR test file nor a marker of the simulator.",
          ...protection,
        };
  }
  const where = worst.inside ? "A member of the zip" : "The file";
  if (worst.rule === "eicar") {
    return {
      outcome: "malicious",
      threatNames: [EICAR_THREAT_NAME],
      why: `${where} contains the EICAR test file.`,
      ...protection,
    };
  }
  return {
    outcome: worst.outcome,
    threatNames: worst.outcome === "malicious" ? [MARKER_THREAT_NAME] : [],
    why: `${where} contains the marker "${MARKER_PREFIX}${worst.outcome}".`,
    ...protection,
  };
}

/** Judges a URL that `new URL` could read. */
export function judgeUrl(url: URL): Judgement {
  const host = url.hostname.toLowerCase().replace(/\.$/, "");
  const labels = RESERVED_HOST.test(host) ? host.split(".") : [];
  const outcome = OUTCOMES.find((name) => labels.some((label) => HOST_LABELS[label] === name));
  if (outcome === undefined) {
    return {
      outcome: "clean",
      threatNames: [],
      why: "The host name is none that the simulator has a rule for.",
      passwordProtected: false,
      opened: false,
    };
  }
  const label = Object.keys(HOST_LABELS).find((name) => HOST_LABELS[name] === outcome);
  return {
    outcome,
    threatNames: outcome === "malicious" ? [MARKER_THREAT_NAME] : [],
    why: `The host name has the label "${label}" under a name reserved by RFC 2606.`,
    passwordProtected: false,
    opened: false,
  };
}
