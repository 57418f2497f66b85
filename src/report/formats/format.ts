/**
 * What a format is: from an event to the lines that stand for it.
 *
 * A format is a function that says which lines an event has and how each is written. It does not care for sizes:
 * formatter.ts gives it a shorter event where a line is too long.
 */
import type { SensorEvent } from "../event.ts";

/** An event as a destination may see it: any member but those that name it may be left out. */
export type VisibleEvent = Visible<SensorEvent> & Pick<SensorEvent, "schema" | "id" | "type" | "time">;

type Visible<T> = T extends readonly (infer Item)[]
  ? readonly Visible<Item>[]
  : T extends object
    ? { readonly [Key in keyof T]?: Visible<T[Key]> }
    : T;

/** One line to be: the event it is made of, and how. */
export type Piece = {
  /** What is cut where the line is too long. */
  readonly event: SensorEvent;
  /** One line without control characters. Throws TEMPLATE_FAILED where a template of the customer fails. */
  write(event: VisibleEvent): string;
  /**
   * The same without what other lines of the event say, too, and with that in `truncated`: what takes the place of
   * `write` where that makes too long a line, before anything of the event is cut.
   */
  brief?(event: VisibleEvent): string;
  /** A line that no shorter event makes short enough may be cut itself; otherwise it stays whole. */
  readonly cutLine?: (line: string, maxBytes: number) => string;
};

/** The lines of an event, at least one. Pure. */
export type Format = (event: SensorEvent) => readonly Piece[];
