/**
 * What triage gives to the analyzer: for each artifact of a mail what to do with it, and why.
 */
import type { Attachment, FoundUrl } from "../extract/extraction.ts";

/** `analyse`: look up, else submit. `lookup`: look up only. `skip`: no call is made. */
export type Action = "analyse" | "lookup" | "skip";

export type Decision = {
  readonly action: Action;
  /** Name of the rule that decided, stable ("default.documents"). */
  readonly rule: string;
  /** The decision in words, for people. */
  readonly reason: string;
};

export type PlannedArtifact =
  | { readonly kind: "attachment"; readonly attachment: Attachment; readonly decision: Decision }
  | { readonly kind: "url"; readonly url: FoundUrl; readonly decision: Decision };

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
