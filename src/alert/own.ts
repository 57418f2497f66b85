/**
 * The sensor's own alerts among the mails it is given: archived, not taken apart.
 *
 * A mail in, an extraction without parts out, with the flag `own_alert`; null for every other mail.
 */
import { readFile, stat } from "node:fs/promises";
import type { Extraction } from "../extract/extraction.ts";
import { decodeWords } from "../extract/readings/headers.ts";
import type { RawMail } from "../intake/mail.ts";
import type { Log } from "../log.ts";
import { showText } from "../text.ts";
import { readHeader } from "./canonical.ts";
import { isOwnAlert, MAX_ALERT_BYTES } from "./marker.ts";

export const OWN_ALERT_FLAG = "own_alert";

export type OwnAlerts = { recognise(raw: RawMail): Promise<Extraction | null> };

export function createOwnAlerts(options: {
  readonly secret: Uint8Array;
  readonly log: Log;
  readonly now?: () => number;
}): OwnAlerts {
  const { secret, log, now = Date.now } = options;
  let count = 0;
  return {
    async recognise(raw) {
      const bytes = await alertBytes(raw);
      if (bytes === null || !isOwnAlert(bytes, secret, now())) return null;
      const header = readHeader(bytes);
      const value = (name: string) => header.find((field) => field.name === name)?.value ?? null;
      const address = (name: string) => {
        const text = value(name);
        return text === null ? [] : [/<([^<>]*)>$/.exec(text)?.[1] ?? text];
      };
      count += 1;
      log.info("an alert of this sensor came back, it is not analysed", {
        message_id: showText(value("message-id") ?? "", 200),
        own_alerts: count,
      });
      return {
        mail: {
          message_id: value("message-id"),
          subject: decodeWords(value("subject") ?? ""),
          from: address("from"),
          to: address("to"),
          cc: [],
          date: null,
        },
        envelope: null,
        attachments: [],
        urls: [],
        passwords: [],
        flags: [OWN_ALERT_FLAG],
        complete: true,
      };
    },
  };
}

/** The bytes of a mail that is small enough to be an alert. */
async function alertBytes(raw: RawMail): Promise<Uint8Array | null> {
  if (raw.kind === "inline") return raw.bytes;
  const { size } = await stat(raw.path);
  return size > MAX_ALERT_BYTES ? null : await readFile(raw.path);
}
