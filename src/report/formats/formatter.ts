/**
 * From an event to what a destination receives of it, in the destination's own format.
 *
 * A destination of the configuration goes in, a formatter comes out. A template that is wrong throws
 * CONFIG_INVALID then; after that nothing fails: an event that a format cannot write is written as JSON, and the
 * log says so.
 */
import { readFileSync, statSync } from "node:fs";
import type { SiemConfig } from "../../config/schema.ts";
import { asSensorError, SensorError } from "../../errors.ts";
import { faultFields, type Log } from "../../log.ts";
import { shrinkEvent } from "../bounds.ts";
import { concerns, type SensorEvent } from "../event.ts";
import { createSelection } from "../fields.ts";
import { createPrivacy, type Privacy } from "../privacy.ts";
import { partEvents } from "../split.ts";
import { cefFormat } from "./cef.ts";
import { ecsFormat } from "./ecs.ts";
import type { Format, Piece, VisibleEvent } from "./format.ts";
import { jsonFormat, writeJson } from "./json.ts";
import { leefFormat } from "./leef.ts";
import { ocsfFormat } from "./ocsf.ts";
import { compileTemplate, MAX_TEMPLATE_LENGTH, templateFormat } from "./template.ts";

/** One message: a line of UTF-8 without control characters, and the event that its header is made of. */
export type Message = { readonly event: SensorEvent; readonly text: string };

export type Formatter = {
  /** What the destination may have of an event. */
  readonly select: (event: SensorEvent) => VisibleEvent;
  /**
   * The messages of an event in the order to send them, none or more; the event is delivered when all of them
   * are. `room` says how many bytes the text of a message may have, beside its header.
   */
  format(event: SensorEvent, room: (event: SensorEvent) => number): readonly Message[];
  /** The same where nothing may fail in silence: throws TEMPLATE_FAILED. */
  tryFormat(event: SensorEvent, room: (event: SensorEvent) => number): readonly Message[];
};

export type FormatSettings = Pick<SiemConfig, "name" | "format"> &
  Partial<
    Pick<
      SiemConfig,
      "template" | "template_file" | "leef_delimiter" | "fields" | "privacy" | "split" | "min_verdict"
    >
  >;

/** Shorter secrets can be tried out, and with them the addresses. */
const MIN_KEY_LENGTH = 16;

type Selection = (event: SensorEvent) => VisibleEvent;

/**
 * `secret` is that of the installation, for hashes; `privacy.key_file` has precedence.
 * Throws CONFIG_INVALID, naming the destination.
 */
export function createFormatter(destination: FormatSettings, log: Log, secret: Uint8Array): Formatter {
  const format = formatOf(destination);
  const privacy = privacyOf(destination, secret);
  const { include, exclude = [] } = destination.fields ?? {};
  const select = createSelection({ include, exclude: [...exclude, ...(privacy?.dropped ?? [])] });
  const least = destination.min_verdict ?? "clean";
  const parts = (event: SensorEvent) =>
    destination.split === true ? partEvents(event).filter((part) => concerns(part, least)) : [];
  /** An event as its pieces, once without what is private: what is cut before it is hashed has another hash. */
  const piecesOf = (event: SensorEvent) => {
    const seen = privacy === null ? event : privacy.apply(event);
    return [...parts(seen), seen].flatMap(format);
  };
  return {
    select,
    format: (event, room) =>
      piecesOf(event).map((piece) => ({
        event: piece.event,
        text: textOf(piece, select, room(piece.event), log),
      })),
    tryFormat: (event, room) =>
      piecesOf(event).map((piece) => ({
        event: piece.event,
        text: writtenText(piece, select, room(piece.event)),
      })),
  };
}

function privacyOf({ name, privacy }: FormatSettings, secret: Uint8Array): Privacy | null {
  if (privacy === undefined) return null;
  const { key_file } = privacy;
  if (key_file === undefined) return createPrivacy(privacy, secret);
  try {
    // The line break behind it is none of it: it depends on how the file was written.
    const key = readFileSync(key_file, "utf8").trim();
    if (key.length < MIN_KEY_LENGTH)
      throw new Error(`the secret is shorter than ${MIN_KEY_LENGTH} characters`);
    return createPrivacy(privacy, Buffer.from(key));
  } catch (thrown) {
    const message = `siem destination ${JSON.stringify(name)}: privacy.key_file: ${asSensorError(thrown).message}`;
    throw new SensorError("CONFIG_INVALID", message, { cause: thrown });
  }
}

function writtenText(piece: Piece, select: Selection, room: number): string {
  const { brief } = piece;
  if (brief !== undefined) {
    const whole = piece.write(select(piece.event));
    if (Buffer.byteLength(whole) <= room) return whole;
  }
  const write = brief ?? piece.write;
  const { text, fits } = shrinkEvent(piece.event, room, (event) => write(select(event)));
  return fits || piece.cutLine === undefined ? text : piece.cutLine(text, room);
}

function textOf(piece: Piece, select: Selection, room: number, log: Log): string {
  try {
    return writtenText(piece, select, room);
  } catch (thrown) {
    log.error("the format failed, the event is sent as JSON", {
      event_id: piece.event.id,
      ...faultFields(asSensorError(thrown)),
    });
    return shrinkEvent(piece.event, room, (event) => writeJson(select(event))).text;
  }
}

function formatOf(destination: FormatSettings): Format {
  switch (destination.format) {
    case "json":
      return jsonFormat;
    case "template":
      return templateOf(destination);
    case "ecs":
      return ecsFormat;
    case "ocsf":
      return ocsfFormat;
    case "cef":
      return cefFormat;
    case "leef":
      return leefFormat(destination.leef_delimiter ?? "^");
  }
}

/** The template of a destination, from its file where it is in one. Throws where that cannot be read. */
export function templateText({ template, template_file }: FormatSettings): string {
  return template ?? readTemplate(template_file);
}

function templateOf(settings: FormatSettings): Format {
  const { name } = settings;
  try {
    return templateFormat(compileTemplate(templateText(settings)));
  } catch (thrown) {
    const where = `siem destination ${JSON.stringify(name)}`;
    throw new SensorError("CONFIG_INVALID", `${where}: ${asSensorError(thrown).message}`, { cause: thrown });
  }
}

function readTemplate(path: string | undefined): string {
  if (path === undefined) {
    throw new SensorError("CONFIG_INVALID", "the template format needs template or template_file");
  }
  // Each character has four bytes at most.
  if (statSync(path).size > MAX_TEMPLATE_LENGTH * 4) {
    throw new SensorError("CONFIG_INVALID", "the template file is too large");
  }
  return readFileSync(path, "utf8");
}
