/**
 * One run of the demo: every other end on loopback, the sensor between them, the samples through it.
 *
 * In: an empty folder and the samples. Out: what the other ends saw. Everything started here is stopped before the
 * promise settles, also where it is rejected; the folder is the caller's to remove.
 */
import { appendFileSync } from "node:fs";
import { join } from "node:path";
import { createTransport } from "nodemailer";
import type { Status } from "../../../gen/emailsensor/v1/sensor.ts";
import { startSimulator } from "../../analyzer/simulator/simulator.ts";
import { schema } from "../../config/schema.ts";
import { connectControl } from "../../control/client.ts";
import { createLog } from "../../log.ts";
import { startSensor } from "../../sensor.ts";
import {
  alertsOf,
  type Observed,
  outcomesOf,
  type ReceivedEvent,
  readEvent,
  type VerdictCounts,
} from "./checks.ts";
import { listenForMail, type SunkMail } from "./mail-sink.ts";
import type { Progress } from "./progress.ts";
import type { Sample } from "./samples.ts";
import { listenForSyslog } from "./syslog-listener.ts";

export type Outcome = Observed & {
  /** When a sample began to be sent, milliseconds since 1970, by its name. */
  readonly sentAt: ReadonlyMap<string, number>;
};

export const ALERT_ADDRESS = "soc@demo.example";
export const LOG_FILE = "sensor.log";
const CONNECTIONS = 2;
const SEND_TIMEOUT = 20_000;
const STOP_TIMEOUT = 10_000;
const POLL = 50;

type Closing = { readonly what: string; readonly close: () => Promise<void> };

/**
 * Sends the samples and waits until each has its verdict and its alerts, `timeout` ms are over or `signal` is
 * raised; the last one rejects.
 */
export async function runDemo(
  folder: string,
  samples: readonly Sample[],
  progress: Progress,
  timeout: number,
  signal: AbortSignal,
): Promise<Outcome> {
  const running: Closing[] = [];
  const apiKey = crypto.randomUUID();
  const deadline = Date.now() + timeout;
  const outcome = await settle(observe());
  progress.step("stopping");
  const faults: unknown[] = [];
  for (const { what, close } of running.reverse()) {
    const stopped = await settle(within(STOP_TIMEOUT, what, close()));
    if (!stopped.ok) faults.push(stopped.fault);
  }
  if (!outcome.ok) throw outcome.fault;
  if (faults.length > 0) throw faults[0];
  return outcome.value;

  async function observe(): Promise<Outcome> {
    const events: ReceivedEvent[] = [];
    const alerts: SunkMail[] = [];
    const syslogFaults: string[] = [];
    const sentAt = new Map<string, number>();
    const refused = new Map<string, string>();

    progress.step("starting the analyzer simulator, a syslog listener and a mail relay");
    const simulator = await startSimulator({ apiKey, queuedMs: 200, inWorkMs: 400 });
    running.push({ what: "the analyzer simulator", close: () => simulator.stop() });
    const siem = await listenForSyslog(
      (syslog) => {
        const event = readEvent(syslog.text);
        if (event === null) syslogFaults.push(`no event: ${JSON.stringify(syslog.text.slice(0, 80))}`);
        else events.push({ syslog, event, at: Date.now() });
      },
      (fault) => syslogFaults.push(fault),
    );
    running.push({ what: "the syslog listener", close: siem.close });
    const relay = await listenForMail((mail) => alerts.push(mail));
    running.push({ what: "the mail relay", close: relay.close });

    progress.step("starting the sensor");
    const config = schema.parse({
      sensor: { id: "demo" },
      smtp: { listen: ["127.0.0.1:0"], hostname: "sensor.demo.example" },
      spool: { path: join(folder, "spool"), min_free: "1MB" },
      vmray: { url: simulator.url, api_key: apiKey, poll_interval: "100ms" },
      siem: [{ name: "siem", syslog: `tcp://127.0.0.1:${siem.port}`, format: "json" }],
      alerts: [
        {
          name: "soc",
          relay: `127.0.0.1:${relay.port}`,
          from: "email-sensor@demo.example",
          to: [ALERT_ADDRESS],
          campaign_wait: "0s",
        },
      ],
      control: { listen: `unix:${join(folder, "control.sock")}` },
    });
    const log = createLog("info", (line) => appendFileSync(join(folder, LOG_FILE), line));
    const sensor = await startSensor(config, log);
    running.push({ what: "the sensor", close: () => sensor.stop() });
    const [smtp] = sensor.smtp;
    if (smtp === undefined) throw new Error("the sensor listens on no port");

    const transport = createTransport({
      host: smtp.host,
      port: smtp.port,
      name: "mx.sender.example",
      pool: true,
      maxConnections: CONNECTIONS,
      ignoreTLS: true,
      connectionTimeout: SEND_TIMEOUT,
      socketTimeout: SEND_TIMEOUT,
      disableFileAccess: true,
      disableUrlAccess: true,
    });
    running.push({ what: "the SMTP client", close: async () => transport.close() });

    progress.step(`sending ${samples.length} mails over SMTP`);
    const queue = samples.values();
    const sendNext = async (): Promise<void> => {
      for (const sample of queue) {
        signal.throwIfAborted();
        progress.update(`sending ${sample.title}`);
        sentAt.set(sample.name, Date.now());
        const sent = await settle(transport.sendMail(sample.mail));
        if (!sent.ok) refused.set(sample.name, String(sent.fault));
      }
    };
    await Promise.all(Array.from({ length: CONNECTIONS }, sendNext));

    progress.step("waiting for the verdicts");
    for (;;) {
      signal.throwIfAborted();
      const waiting = samples.filter(
        (sample) => !refused.has(sample.name) && !isSettled(sample, events, alerts),
      );
      if (waiting.length === 0 || Date.now() > deadline) break;
      progress.update(
        `${samples.length - waiting.length} of ${samples.length} verdicts, waiting for: ` +
          waiting.map((sample) => sample.title).join(", "),
      );
      await Bun.sleep(POLL);
    }
    const control = connectControl(sensor.control, null);
    running.push({ what: "the gRPC client", close: async () => control.close() });
    const status = await settle(control.getStatus());
    // Stopping may still bring events, which is why the lists are handed over as they are and not copied.
    return {
      events,
      alerts,
      syslogFaults,
      submissions: simulator.submissions(),
      refused,
      control: status.ok ? countsOf(status.value) : String(status.fault),
      sentAt,
    };
  }
}

function isSettled(sample: Sample, events: readonly ReceivedEvent[], alerts: readonly SunkMail[]): boolean {
  if (outcomesOf(sample, events).length === 0) return false;
  return !sample.expected.alert || alertsOf(sample, alerts).length > 0;
}

function countsOf({ verdicts }: Status): VerdictCounts {
  return {
    malicious: Number(verdicts?.malicious ?? 0),
    suspicious: Number(verdicts?.suspicious ?? 0),
    clean: Number(verdicts?.clean ?? 0),
    not_available: Number(verdicts?.notAvailable ?? 0),
  };
}

type Settled<T> = { readonly ok: true; readonly value: T } | { readonly ok: false; readonly fault: unknown };

async function settle<T>(work: Promise<T>): Promise<Settled<T>> {
  try {
    return { ok: true, value: await work };
  } catch (fault) {
    return { ok: false, fault };
  }
}

async function within(timeout: number, what: string, work: Promise<void>): Promise<void> {
  let timer: Timer | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what} did not stop within ${timeout / 1000} s`)), timeout);
  });
  try {
    await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}
