/**
 * The bounds of taking one mail apart: the keys of `extract` in the configuration that say how much of it is read,
 * and what tells whom it was for.
 */
import type { Config } from "../config/schema.ts";

type Settings = Config["extract"];

/** `timeout`: milliseconds after which the helper is killed; reading ends before. */
export type Bounds = Omit<Settings, "helpers" | "memory" | "attempts">;

export function boundsOf(settings: Bounds): Bounds {
  return {
    timeout: settings.timeout,
    max_mail_size: settings.max_mail_size,
    max_depth: settings.max_depth,
    max_parts: settings.max_parts,
    max_attachments: settings.max_attachments,
    max_urls: settings.max_urls,
    max_recipients: settings.max_recipients,
    max_header_size: settings.max_header_size,
    max_header_lines: settings.max_header_lines,
    max_decoded_size: settings.max_decoded_size,
    max_unpacked_size: settings.max_unpacked_size,
    max_archive_members: settings.max_archive_members,
    max_archive_ratio: settings.max_archive_ratio,
    journal: settings.journal,
    journal_addresses: settings.journal_addresses,
    copy_addresses: settings.copy_addresses,
  };
}
