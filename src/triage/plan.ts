/**
 * What triage gives to the analyzer: for each artifact of a mail what to do with it, and why.
 */
import type { Attachment, FoundUrl } from "../extract/extraction.ts";

/**
 * What is done with a content, cheapest first. `skip`: no call is made. `lookup`: VMRay is asked whether it knows
 * it. The others submit what it does not know: `reputation` asks its reputation service alone, `static` adds static
 * analysis (files only), `dynamic` detonates it.
 */
export const ACTIONS = ["skip", "lookup", "reputation", "static", "dynamic"] as const;
export type Action = (typeof ACTIONS)[number];

/** An action that may end in a submission. */
export type SubmitAction = Exclude<Action, "skip" | "lookup">;

/** True where the action may end in a submission. */
export function submits(action: Action): action is SubmitAction {
  return action !== "skip" && action !== "lookup";
}

/** Rule of a file that is left out because what it lies in is analysed as a whole. */
export const IN_ANALYSED_FILE = "default.in_analysed_file";
/** Rule of one that is looked up because that could not be judged. */
export const IN_UNJUDGED_FILE = "default.in_unjudged_file";

export const PRIORITIES = ["low", "normal", "high"] as const;
export type Priority = (typeof PRIORITIES)[number];

/**
 * What an analysis is made of, by the action that it is for: `analyzer_mode` of VMRay. The first of each is what is asked
 * for where nobody chooses; a dynamic one is then left to VMRay.
 */
export const ANALYZER_MODES = {
  reputation: ["reputation"],
  static: ["reputation_static", "static"],
  dynamic: ["reputation_static_dynamic", "static_dynamic"],
} as const satisfies Record<SubmitAction, readonly string[]>;
export type AnalyzerMode = (typeof ANALYZER_MODES)[SubmitAction][number];

/** True where the action may be done in this mode. */
export function isModeOf(action: SubmitAction, mode: AnalyzerMode): boolean {
  return ANALYZER_MODES[action].some((each) => each === mode);
}

/** How VMRay is to analyse a content; what is left out follows the `vmray` section, then VMRay's own settings. */
export type SubmitParameters = {
  /** Longest run of a dynamic analysis, milliseconds. */
  readonly analysis_timeout?: number;
  /** For an action that it is a mode of. */
  readonly analyzer_mode?: AnalyzerMode;
  /** In addition to those of the `vmray` section. */
  readonly tags?: readonly string[];
  readonly archive_action?: "sample" | "compound_sample" | "separate_samples";
  readonly analysis_caching?: "disabled" | "enabled" | "smart" | "legacy";
  readonly max_jobs?: number;
  /** Whether VMRay may show the hash to VirusTotal. */
  readonly shareable?: boolean;
  /** Days that VMRay keeps it, 0 for ever. */
  readonly retention_period?: 0 | 60 | 120 | 180 | 360;
};

export type Decision = {
  readonly action: Action;
  /** Name of the rule that decided, stable ("default.documents"). */
  readonly rule: string;
  /** The decision in words, for people. */
  readonly reason: string;
  /** Normal where it is missing. */
  readonly priority?: Priority;
  /** Name of the analyzer that is to be asked; the first that can take it where it is missing. */
  readonly analyzer?: string;
  readonly parameters?: SubmitParameters;
  /** The list that decided. `allow` goes with `skip`; `deny` makes the content malicious without a call. */
  readonly list?: "allow" | "deny";
};

/** What a list says about the sender of a mail. `deny` makes the mail malicious whatever its parts are. */
export type SenderHit = {
  readonly list: "allow" | "deny";
  /** The address that is listed, as the mail has it. Hostile text. */
  readonly address: string;
  /** The entry in words: `(sender evil.example): comment`. */
  readonly entry: string;
};

/** A URL as VMRay is asked about it. */
export type PlannedUrl = FoundUrl & {
  /** Its normal forms before what tracks the reader was taken out; missing where nothing was. */
  readonly stripped_from?: readonly string[];
};

export type PlannedArtifact =
  | { readonly kind: "attachment"; readonly attachment: Attachment; readonly decision: Decision }
  | { readonly kind: "url"; readonly url: PlannedUrl; readonly decision: Decision };

/** Attachments first, in the order of the extraction, then URLs. */
export type Plan = readonly PlannedArtifact[];

/**
 * Identity of a content, shared by every mail that carries it: `file:SHA256` or `url:NORMALIZED`. A file whose
 * password is known is another content (`file:SHA256:opened`): a verdict on what nobody could open says nothing.
 */
export function contentKey(artifact: PlannedArtifact): string {
  if (artifact.kind === "url") return `url:${artifact.url.normalized}`;
  const { sha256, password } = artifact.attachment;
  return password === null ? `file:${sha256}` : `file:${sha256}:opened`;
}
