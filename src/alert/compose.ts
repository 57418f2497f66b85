/**
 * An alert out of what waits to be told: subject, text and HTML, by the built-in templates or the customer's.
 *
 * A template of the customer that fails on an alert is not used for it: the built-in one is, and the fault is told to
 * `failed`. The Message-ID follows from what is told and to whom, so that a second sending can be told.
 */
import { createHmac } from "node:crypto";
import { readFileSync } from "node:fs";
import type { AlertConfig } from "../config/schema.ts";
import { asSensorError, SensorError } from "../errors.ts";
import { cutText, showText } from "../text.ts";
import { defang } from "./defang.ts";
import {
  type AlertFacts,
  type Audience,
  alertFacts,
  builtInSubject,
  keepEvent,
  type Manner,
} from "./facts.ts";
import type { Note } from "./ledger.ts";
import { type Logo, readLogo } from "./logo.ts";
import type { Alert } from "./message.ts";
import { addressKey, domainOf } from "./recipients.ts";
import { SAMPLE_EVENT } from "./sample.ts";
import { type AlertTemplate, BUILT_IN, compileAlertTemplate } from "./template.ts";

export const MAX_SUBJECT = 200;

export type ComposerConfig = Pick<
  AlertConfig,
  | "name"
  | "from"
  | "audience"
  | "language"
  | "time_zone"
  | "contact"
  | "subject"
  | "text_file"
  | "html_file"
  | "logo_file"
>;

export type Composer = {
  readonly logo: Logo | null;
  compose(note: Note, leftOut: number): Alert;
};

type Templates = {
  readonly subject: AlertTemplate;
  readonly text: AlertTemplate;
  readonly html: AlertTemplate;
};

/** Reads and tries every template; throws CONFIG_INVALID with the key that is wrong. */
export function createComposer(options: {
  readonly config: ComposerConfig;
  readonly sensorId: string;
  readonly secret: Uint8Array;
  readonly failed: (fault: SensorError, eventId: string) => void;
}): Composer {
  const { config, secret } = options;
  const logo = config.logo_file === undefined ? null : loadLogo(config.name, config.logo_file);
  const manner: Manner = {
    language: config.language,
    timeZone: config.time_zone,
    contact: config.contact === undefined ? null : showText(config.contact, 200),
    sensor: options.sensorId,
    logo: logo !== null,
  };
  const builtIn = (audience: Audience, digest: boolean) => BUILT_IN[digest ? "digest" : audience];
  const own = {
    subject: ownTemplate(config, "subject"),
    text: ownTemplate(config, "text_file"),
    html: ownTemplate(config, "html_file"),
  };
  const factsOf = (
    note: Pick<Note, "fixed" | "yours" | "kind" | "rows" | "mails" | "recipients">,
    leftOut: number,
  ) =>
    alertFacts({
      rows: note.rows,
      digest: note.kind === "digest" ? note.mails : null,
      manner,
      audience: config.audience ?? (note.fixed ? "analyst" : "user"),
      yours: note.yours,
      recipients: note.recipients,
      leftOut,
    });
  const templatesOf = (audience: Audience, digest: number | null): Templates => {
    const texts = builtIn(audience, digest !== null);
    return {
      subject: (facts) => builtInSubject(facts, digest),
      text: compiled(texts.text, "text"),
      html: compiled(texts.html, "html"),
    };
  };
  const write = (facts: AlertFacts, digest: number | null, failed: (fault: SensorError) => void) => {
    const standard = templatesOf(facts.audience, digest);
    const made = (kind: keyof Templates) => {
      const template = own[kind];
      if (template === null) return standard[kind](facts);
      try {
        return template(facts);
      } catch (thrown) {
        failed(asSensorError(thrown));
        return standard[kind](facts);
      }
    };
    return {
      // Once more: a template may have put a scheme or a dot between two harmless values.
      subject: cutText(defang(showText(made("subject"), MAX_SUBJECT)), MAX_SUBJECT * 2),
      text: made("text"),
      html: made("html"),
    };
  };

  // Every way of an alert is gone once, so that a wrong template is known now and not at the first alert.
  for (const kind of ["alert", "digest"] as const) {
    for (const fixed of [true, false]) {
      const event = keepEvent(SAMPLE_EVENT, "suspicious", ["attachment", "url"]);
      const facts = factsOf(
        { kind, fixed, yours: !fixed, rows: [{ event, mails: 1, contents: [] }], mails: 1, recipients: [] },
        1,
      );
      write(facts, kind === "digest" ? 1 : null, (fault) => {
        throw new SensorError("CONFIG_INVALID", `alert ${config.name}: ${fault.message}`, { cause: fault });
      });
    }
  }

  return {
    logo,
    compose(note, leftOut) {
      const facts = factsOf(note, leftOut);
      const digest = note.kind === "digest" ? note.mails : null;
      return {
        ...write(facts, digest, (fault) => options.failed(fault, facts.id)),
        messageId: alertMessageId(facts.id, note.address, config.from, secret),
      };
    },
  };
}

/** Nobody without the secret can tell it, so that it says nothing about the sensor and cannot be made in advance. */
export function alertMessageId(eventId: string, recipient: string, from: string, secret: Uint8Array): string {
  const mark = createHmac("sha256", secret)
    .update(JSON.stringify(["email-sensor message id", eventId, addressKey(recipient)]))
    .digest("hex")
    .slice(0, 24);
  return `<alert.${eventId}.${mark}@${domainOf(from)}>`;
}

const cache = new Map<string, AlertTemplate>();

/** The built-in templates, compiled once. */
function compiled(text: string, kind: "text" | "html"): AlertTemplate {
  const known = cache.get(text) ?? compileAlertTemplate(text, kind);
  cache.set(text, known);
  return known;
}

function ownTemplate(
  config: ComposerConfig,
  key: "subject" | "text_file" | "html_file",
): AlertTemplate | null {
  const value = config[key];
  if (value === undefined) return null;
  try {
    if (key === "subject") return compileAlertTemplate(value, "subject");
    return compileAlertTemplate(readFileSync(value, "utf8"), key === "text_file" ? "text" : "html");
  } catch (thrown) {
    const message = `alert ${config.name}: ${key}: ${asSensorError(thrown).message}`;
    throw new SensorError("CONFIG_INVALID", message, { cause: thrown });
  }
}

function loadLogo(name: string, path: string): Logo {
  try {
    const logo = readLogo(readFileSync(path));
    if (logo !== null) return logo;
  } catch (thrown) {
    throw new SensorError("CONFIG_INVALID", `alert ${name}: cannot read ${path}`, { cause: thrown });
  }
  throw new SensorError("CONFIG_INVALID", `alert ${name}: ${path} is no PNG or JPEG image`);
}
