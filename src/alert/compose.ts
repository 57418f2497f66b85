/**
 * An alert out of what waits to be told: subject, text and HTML, by the built-in templates or the customer's.
 *
 * A template of the customer that fails on an alert is not used for it: the built-in one is, and the fault is told to
 * `failed`. Those templates are rendered where `render` does it, since they may be slow. The Message-ID follows from what is told and to whom, so that a second sending can be told.
 */
import { createHmac } from "node:crypto";
import { readFileSync } from "node:fs";
import type { AlertConfig } from "../config/schema.ts";
import { nearest } from "../config/suggest.ts";
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
  PART_KINDS,
  withFewerRows,
} from "./facts.ts";
import type { Note } from "./ledger.ts";
import { type Logo, readLogo } from "./logo.ts";
import type { Alert } from "./message.ts";
import { addressKey, domainOf } from "./recipients.ts";
import { sampleEvents } from "./sample.ts";
import {
  type AlertTemplate,
  BUILT_IN,
  compileAlertTemplate,
  type RenderTemplate,
  renderTemplate,
  type TemplateSource,
} from "./template.ts";
import { wantsAlert } from "./wanted.ts";

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
  | "min_verdict"
  | "on"
  | "changed"
  | "digest"
>;

export type Composer = {
  readonly logo: Logo | null;
  compose(note: Note, leftOut: number): Promise<Alert>;
};

/** Reads every template; throws CONFIG_INVALID with the key that is wrong. */
export function createComposer(options: {
  readonly config: ComposerConfig;
  readonly render: RenderTemplate;
  readonly sensorId: string;
  readonly secret: Uint8Array;
  readonly failed: (fault: SensorError, eventId: string) => void;
}): Composer {
  const { config, secret } = options;
  for (const key of TEMPLATE_KEYS) {
    try {
      compiledTemplate(config, key);
    } catch (cause) {
      const message = `alert ${config.name}: ${key}: ${asSensorError(cause).message}`;
      throw new SensorError("CONFIG_INVALID", message, { cause });
    }
  }
  const logo = config.logo_file === undefined ? null : loadLogo(config.name, config.logo_file);
  const manner = mannerOf(config, options.sensorId, logo !== null);
  const own = {
    subject: ownTemplate(config, "subject"),
    text: ownTemplate(config, "text_file"),
    html: ownTemplate(config, "html_file"),
  };
  return {
    logo,
    async compose(note, leftOut) {
      const facts = factsOf(note, leftOut, config, manner);
      const standard = standardTemplates(note, facts.audience);
      const made = async (kind: keyof typeof own) => {
        const source = own[kind];
        if (source === null) return standard[kind](facts);
        try {
          return await options.render(source, facts);
        } catch (thrown) {
          options.failed(asSensorError(thrown), facts.id);
          return standard[kind](facts);
        }
      };
      return {
        // Once more: a template may have put a scheme or a dot between two harmless values.
        subject: cutText(defang(showText(await made("subject"), MAX_SUBJECT)), MAX_SUBJECT * 2),
        text: await made("text"),
        html: await made("html"),
        messageId: alertMessageId(facts.id, note.address, config.from, secret),
      };
    },
  };
}

const TEMPLATE_KEYS = ["subject", "text_file", "html_file"] as const;

export type TemplateFinding = {
  /** Below the alert. */
  readonly key: (typeof TEMPLATE_KEYS)[number];
  readonly severity: "problem" | "warning";
  readonly message: string;
};

/**
 * Tries the customer's templates with samples of every kind of alert, so that a wrong one is known now and not at the
 * first alert. A problem is what fails on the usual sample; a warning what fails on another one, where the built-in
 * text would be sent instead, and a variable that alerts do not have. Bounded by the limits of templates.
 */
export async function rehearseTemplates(
  config: ComposerConfig,
  render: RenderTemplate,
): Promise<readonly TemplateFinding[]> {
  const manner = mannerOf(config, "sensor.example.org", config.logo_file !== undefined);
  const rehearsed = async (key: (typeof TEMPLATE_KEYS)[number]): Promise<readonly TemplateFinding[]> => {
    const found = (severity: TemplateFinding["severity"], message: string): readonly TemplateFinding[] => [
      { key, severity, message },
    ];
    let template: AlertTemplate | null;
    try {
      template = compiledTemplate(config, key);
    } catch (thrown) {
      return found("problem", asSensorError(thrown).message);
    }
    const source = ownTemplate(config, key);
    if (template === null || source === null) return [];
    const named = new Set<string>();
    for (const [at, { about, event }] of sampleEvents().entries()) {
      const kept = keepEvent(event, config.min_verdict, at === 0 ? PART_KINDS : config.on);
      if (at > 0 && !wantsAlert(event, { ...config, match: undefined })) continue;
      for (const [kind, fixed] of [
        ["alert", false],
        ["alert", true],
        ["digest", false],
        ["digest", true],
      ] as const) {
        if (at > 0 && (kind === "digest") !== (config.digest !== undefined)) continue;
        const to = event.mail?.envelope.to ?? [];
        const rows = [{ event: kept, mails: 1, contents: [] }];
        const facts = factsOf(
          { kind, fixed, yours: !fixed, rows, mails: 1, recipients: to },
          1,
          config,
          manner,
        );
        for (const name of Object.keys(facts)) named.add(name);
        try {
          await render(source, facts);
        } catch (thrown) {
          const { message } = asSensorError(thrown);
          if (at === 0) return found("problem", message);
          return found("warning", `of ${about}: ${message}; the built-in one is sent instead`);
        }
      }
    }
    return template.variables
      .filter((name) => !named.has(name))
      .flatMap((name) => {
        const meant = nearest(name, [...named]);
        const hint = meant === null ? "" : `; did you mean ${meant}?`;
        return found("warning", `${showText(name, 64)} is no variable of alerts${hint}`);
      });
  };
  return (await Promise.all(TEMPLATE_KEYS.map(rehearsed))).flat();
}

function mannerOf(config: ComposerConfig, sensor: string, logo: boolean): Manner {
  return {
    language: config.language,
    timeZone: config.time_zone,
    contact: config.contact === undefined ? null : showText(config.contact, 200),
    sensor,
    logo,
  };
}

function factsOf(
  note: Pick<Note, "fixed" | "yours" | "kind" | "rows" | "mails" | "recipients">,
  leftOut: number,
  config: ComposerConfig,
  manner: Manner,
): AlertFacts {
  return alertFacts({
    rows: note.rows,
    digest: note.kind === "digest" ? note.mails : null,
    manner,
    audience: config.audience ?? (note.fixed ? "analyst" : "user"),
    yours: note.yours,
    recipients: note.recipients,
    leftOut,
  });
}

/** The built-in templates. A digest of mails that say as much as they can lists fewer of them. */
function standardTemplates({ kind, mails }: Pick<Note, "kind" | "mails">, audience: Audience) {
  const texts = BUILT_IN[kind === "digest" ? "digest" : audience];
  const fitted = (source: TemplateSource) => (facts: AlertFacts) => {
    for (let shown = facts; ; ) {
      try {
        return renderTemplate(source, shown);
      } catch (thrown) {
        const fewer = withFewerRows(shown);
        if (fewer === null) throw thrown;
        shown = fewer;
      }
    }
  };
  return {
    subject: (facts: AlertFacts) => builtInSubject(facts, kind === "digest" ? mails : null),
    text: fitted({ kind: "text", text: texts.text }),
    html: fitted({ kind: "html", text: texts.html }),
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

/** Throws SensorError with what is wrong. */
function compiledTemplate(config: ComposerConfig, key: (typeof TEMPLATE_KEYS)[number]): AlertTemplate | null {
  const source = ownTemplate(config, key);
  return source === null ? null : compileAlertTemplate(source.text, source.kind);
}

/** As it is written; throws where its file cannot be read. */
function ownTemplate(config: ComposerConfig, key: (typeof TEMPLATE_KEYS)[number]): TemplateSource | null {
  const value = config[key];
  if (value === undefined) return null;
  if (key === "subject") return { kind: "subject", text: value };
  return { kind: key === "text_file" ? "text" : "html", text: readFileSync(value, "utf8") };
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
