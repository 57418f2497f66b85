/**
 * The `json` format: the event as one JSON object on one line, cut to fit where it must.
 *
 * Never fails: an event that is still too long with everything cut is given as it is then, whole and valid.
 */

import { toJsonLine } from "../text.ts";
import { shrinkEvent } from "./bounds.ts";
import type { SensorEvent } from "./event.ts";

/** At most `maxBytes` in UTF-8, no control character in it, `truncated` naming what was cut. */
export function formatJson(event: SensorEvent, maxBytes: number): string {
  return shrinkEvent(event, maxBytes, toJsonLine).text;
}
