/**
 * The `json` format: the event as one JSON object on one line, as docs/event.schema.json says.
 *
 * Never fails: an event that is still too long with everything cut is given as it is then, whole and valid.
 */

import { toJsonLine } from "../../text.ts";
import { shrinkEvent } from "../bounds.ts";
import type { SensorEvent } from "../event.ts";
import type { Format, VisibleEvent } from "./format.ts";

export const writeJson = (event: VisibleEvent): string => toJsonLine(event);

export const jsonFormat: Format = (event) => [{ event, write: writeJson }];

/** At most `maxBytes` in UTF-8, no control character in it, `truncated` naming what was cut. */
export function formatJson(event: SensorEvent, maxBytes: number): string {
  return shrinkEvent(event, maxBytes, writeJson).text;
}
