/** Mails, policies and lists for triage. */
import { schema } from "../../../src/config/schema.ts";
import type { Attachment, Extraction, FoundUrl } from "../../../src/extract/extraction.ts";
import { createLists, type ListEntry, type ListKind, type ListName } from "../../../src/triage/lists.ts";
import type { Plan } from "../../../src/triage/plan.ts";
import { compilePolicy, type Policy, type TriageSettings } from "../../../src/triage/policy.ts";
import type { PopularDomains } from "../../../src/triage/popular.ts";
import { type Triaged, triage } from "../../../src/triage/triage.ts";

export const DEFAULT: TriageSettings = schema.shape.triage.parse({});

export const attachment = (type: string, more: Partial<Attachment> = {}): Attachment => ({
  filename: null,
  sha256: "0".repeat(64),
  size: 1000,
  type,
  views: ["mime"],
  path: [],
  sha1: "0".repeat(40),
  md5: "0".repeat(32),
  within: "mail",
  facts: [],
  password: null,
  ...more,
});

export const url = (normalized: string, more: Partial<FoundUrl> = {}): FoundUrl => ({
  url: normalized,
  normalized,
  sources: ["text"],
  ...more,
});

export type MailParts = Partial<Extraction> & {
  readonly sender?: string;
  readonly recipients?: readonly string[];
  readonly client?: string;
};

/** A policy of the keys of `triage` as one writes them, one value for a list of one not included. */
export const policyOf = (keys: object = {}, popular: PopularDomains | null = null): Policy =>
  compilePolicy(schema.shape.triage.parse(keys), popular);

export function triaged(
  { sender = "a@sender.example", recipients = ["b@rcpt.example"], client = "192.0.2.1", ...parts }: MailParts,
  policy: Policy = policyOf(),
  entries: readonly ListEntry[] = [],
): Triaged {
  const extraction: Extraction = {
    mail: { message_id: null, subject: null, from: ["a@sender.example"], to: [], cc: [], date: null },
    envelope: null,
    attachments: [],
    urls: [],
    passwords: [],
    flags: [],
    complete: true,
    ...parts,
  };
  const envelope = { from: sender, to: recipients, client_ip: client };
  return triage({ extraction, envelope }, policy, createLists(entries));
}

export const planned = (
  parts: MailParts,
  settings: Partial<TriageSettings> = {},
  entries: readonly ListEntry[] = [],
): Plan => triaged(parts, compilePolicy({ ...DEFAULT, ...settings }), entries).plan;

export const entry = (
  list: ListName,
  kind: ListKind,
  value: string,
  comment: string | null = null,
): ListEntry => ({
  list,
  kind,
  value,
  comment,
  addedAt: null,
  expiresAt: null,
});
