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
import type { SensorEvent } from "../event.ts";
import { cefFormat } from "./cef.ts";
import { ecsFormat } from "./ecs.ts";
import type { Format, Piece } from "./format.ts";
import { jsonFormat, writeJson } from "./json.ts";
import { leefFormat } from "./leef.ts";
import { ocsfFormat } from "./ocsf.ts";
import { compileTemplate, MAX_TEMPLATE_LENGTH, templateFormat } from "./template.ts";

/** One message: a line of UTF-8 without control characters, and the event that its header is made of. */
export type Message = { readonly event: SensorEvent; readonly text: string };

export type Formatter = {
  /**
   * The messages of an event in the order to send them, none or more; the event is delivered when all of them
   * are. `room` says how many bytes the text of a message may have, beside its header.
   */
  format(event: SensorEvent, room: (event: SensorEvent) => number): readonly Message[];
};

export type FormatSettings = Pick<
  SiemConfig,
  "name" | "format" | "template" | "template_file" | "leef_delimiter"
>;

/** Throws CONFIG_INVALID, naming the destination. */
export function createFormatter(destination: FormatSettings, log: Log): Formatter {
  const format = formatOf(destination);
  return {
    format(event, room) {
      return format(event).map((piece) => ({
        event: piece.event,
        text: textOf(piece, room(piece.event), log),
      }));
    },
  };
}

function textOf(piece: Piece, room: number, log: Log): string {
  try {
    const { text, fits } = shrinkEvent(piece.event, room, piece.write);
    return fits || piece.cutLine === undefined ? text : piece.cutLine(text, room);
  } catch (thrown) {
    log.error("the format failed, the event is sent as JSON", {
      event_id: piece.event.id,
      ...faultFields(asSensorError(thrown)),
    });
    return shrinkEvent(piece.event, room, writeJson).text;
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

function templateOf({ name, template, template_file }: FormatSettings): Format {
  try {
    return templateFormat(compileTemplate(template ?? readTemplate(template_file)));
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
