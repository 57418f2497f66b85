/**
 * Whether calls to VMRay are made: one gate for those that submit and one for all others, what a fault of a call does to
 * them, and what people are told of a pause that lasts. Nothing here throws for what VMRay does.
 */
import { asSensorError, type ErrorCode, type SensorError } from "../errors.ts";
import { faultFields, type Log } from "../log.ts";
import type { AnalysisJob } from "../spool/spool.ts";
import type { StateChange } from "./budget.ts";
import type { VmrayClient } from "./client.ts";
import { backoff, createGate, type Gate, type PauseReason, type Tripped } from "./gate.ts";
import { createHealth } from "./health.ts";
import { logFields } from "./item.ts";
import { SPOOL_FAULTS } from "./records.ts";
import type { AnalyzerTiming } from "./timing.ts";
import { VmrayError } from "./vmray-error.ts";

/** One kind of call: all are made, none is, or one at a time is tried. */
export type Circuit = {
  readonly state: "open" | "shut" | "trial";
  readonly reason: PauseReason | null;
  /** When the next one is tried, milliseconds since 1970; null while it is open. */
  readonly retryAt: number | null;
};

export type CallKind = "reads" | "submits";

/** What the gates stood at when a step began. */
export type Tickets = { readonly reads: number; readonly submits: number };

/** `blamed`: it is the content's own, since VMRay serves others. `retryAt`: null where it waits for reasons of its own. */
export type Fault = {
  readonly error: SensorError;
  readonly blamed: boolean;
  readonly retryAt: number | null;
};

export type LastError = { readonly code: ErrorCode; readonly message: string; readonly at: number };

export type PausesOptions = {
  readonly client: Pick<VmrayClient, "samplesBySha256">;
  readonly timing: AnalyzerTiming;
  readonly log: Log;
  readonly now: () => number;
  readonly random: () => number;
  /** Aborted when the sensor stops: faults are its own then. */
  readonly stopped: AbortSignal;
};

export type Pauses = {
  /** Takes up what was told before the start, by the names of the events. */
  begin(open: readonly string[]): void;
  state(kind: CallKind, at: number): Circuit["state"];
  tickets(): Tickets;
  /** A call of this kind went well. */
  passRead(ticket: number): void;
  /** VMRay answered a submission, with whatever. */
  passSubmit(ticket: number): void;
  /** A submission whose answer got lost had come in. */
  lostArrived(): void;
  /** Shuts the gate; a line is logged when the reason is new, not for every call that met it. */
  trip(kind: CallKind, error: SensorError, ticket: number): Tripped;
  /** Shuts the gate that a fault of a step belongs to, before any other call is made. */
  meet(error: SensorError, kind: CallKind, tickets: Tickets, job: AnalysisJob): Fault;
  /** True where it is not known whether VMRay answers: one call finds out. */
  mayProbe(at: number): boolean;
  probe(): Promise<void>;
  /** Notes a fault that concerns no gate. */
  note(error: SensorError, msg: string, job?: AnalysisJob): void;
  /** What became different for people since the last time. */
  change(at: number): StateChange | null;
  /** Names of the events that were told and are not over. */
  open(): readonly string[];
  /** When something here changes by itself, those before now included. */
  nextAt(): readonly number[];
  status(at: number): {
    readonly paused: PauseReason | null;
    readonly circuits: Readonly<Record<CallKind, Circuit>>;
    readonly lastError: LastError | null;
  };
};

/** Every server answers it, most with "unknown": SHA-256 of no bytes. */
const PROBE_SHA256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

export function createPauses({ client, timing, log, now, random, stopped }: PausesOptions): Pauses {
  const gates: Readonly<Record<CallKind, Gate>> = {
    reads: createGate(timing, random),
    submits: createGate(timing, random),
  };
  const { reads, submits } = gates;
  const health = createHealth(timing);
  let lastError: LastError | null = null;
  let lastFault = { message: "", ofAll: false };
  let probing = false;
  /** A pause was told before the start, and VMRay did not answer since. */
  let unproven = false;

  function note(error: SensorError, msg: string, job?: AnalysisJob): void {
    lastError = { code: error.code, message: error.message, at: now() };
    log.warn(msg, { ...(job === undefined ? {} : logFields(job)), ...faultFields(error) });
  }

  function passSubmit(ticket: number): void {
    if (submits.pass(ticket)) log.info("VMRay takes submissions again");
  }

  function trip(kind: CallKind, error: SensorError, ticket: number): Tripped {
    const reason = pauseReason(error);
    const wait = error instanceof VmrayError ? error.retryAfter : null;
    const ofAll = reason === "throttled" || (error instanceof VmrayError && error.status === 401);
    const tripped = gates[kind].trip(reason, ticket, now(), wait, ofAll);
    lastError = { code: error.code, message: error.message, at: now() };
    lastFault = { message: error.message, ofAll };
    if (tripped.news) log.warn("calls to VMRay pause", { reason, calls: kind, ...faultFields(error) });
    return tripped;
  }

  return {
    begin(open) {
      unproven = health.begin(open);
    },
    state: (kind, at) => gates[kind].state(at),
    tickets: () => ({ reads: reads.ticket(), submits: submits.ticket() }),
    passRead: (ticket) => void reads.pass(ticket),
    passSubmit,
    lostArrived() {
      if (submits.reason() === "unreachable") passSubmit(submits.ticket());
    },
    trip,
    meet(error, kind, tickets, job) {
      if (stopped.aborted) return { error, blamed: false, retryAt: null };
      switch (error.code) {
        case "VMRAY_REFUSED":
          if (kind === "submits") passSubmit(tickets.submits);
          return { error, blamed: false, retryAt: null };
        case "VMRAY_THROTTLED":
          // What waits for all at the gate waits there and no longer.
          trip("reads", error, tickets.reads);
          return { error, blamed: false, retryAt: now() };
        case "VMRAY_AUTH":
        case "VMRAY_UNREACHABLE":
        case "VMRAY_ANSWER": {
          const blamed = trip(kind, error, tickets[kind]).others;
          if (blamed) return { error, blamed, retryAt: null };
          if (kind === "reads") return { error, blamed, retryAt: now() };
          // The next submission that is tried is another one, where there is one.
          const behind = backoff(1, timing.faultFirst, timing.faultMax, random);
          return { error, blamed, retryAt: submits.until() + behind };
        }
        default:
          note(error, "a step of an analysis failed", job);
          return { error, blamed: !SPOOL_FAULTS.has(error.code), retryAt: null };
      }
    },
    mayProbe(at) {
      const state = reads.state(at);
      return !probing && (state === "trial" || (unproven && state === "open"));
    },
    async probe() {
      probing = true;
      const ticket = reads.ticket();
      try {
        await client.samplesBySha256(PROBE_SHA256, stopped);
      } catch (thrown) {
        if (stopped.aborted) return;
        return void trip("reads", asSensorError(thrown), ticket);
      } finally {
        probing = false;
      }
      unproven = false;
      if (reads.pass(ticket)) log.info("VMRay answers again");
    },
    note,
    change(at) {
      const reason = reads.reason() ?? submits.reason();
      // A single submission that went wrong, with no other to try: VMRay may be well.
      const alone = submits.faults() === 1 && submits.state(at) === "trial" && reads.reason() === null;
      if (alone) health.rest();
      const unknown = alone || (unproven && reason === null);
      return unknown ? null : health.update(reason, lastFault.message, lastFault.ofAll, at);
    },
    open: () => health.open(),
    nextAt() {
      const shut = [reads, submits].filter((gate) => gate.reason() !== null).map((gate) => gate.until());
      const news = health.nextAt();
      return news === null ? shut : [...shut, news];
    },
    status: (at) => ({
      paused: reads.reason() ?? (submits.state(at) === "shut" ? submits.reason() : null),
      circuits: { reads: circuitOf(reads, at), submits: circuitOf(submits, at) },
      lastError,
    }),
  };
}

function circuitOf(gate: Gate, at: number): Circuit {
  const reason = gate.reason();
  return { state: gate.state(at), reason, retryAt: reason === null ? null : gate.until() };
}

function pauseReason(error: SensorError): PauseReason {
  switch (error.code) {
    case "VMRAY_AUTH":
      return "auth";
    case "VMRAY_THROTTLED":
      return "throttled";
    default:
      return "unreachable";
  }
}
