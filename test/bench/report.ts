/**
 * How many events a second reach rsyslog: out of the outbox, formatted, over TCP, TLS and RELP, beside the system's
 * logger and a bare socket that writes the same messages, in one run.
 *
 * Events of 20,000 mails, one attachment and one URL each, wait in a spool on disk. A round begins when reporting
 * starts and ends when rsyslog has written the last one into its file; so does that of the others. The figure is the
 * median of the rounds. rsyslog runs on the same machine, with the configuration of docs/receivers/.
 *
 * use: report.ts [--rounds N] [--events N] [--only tcp,tls,relp,file,socket,logger]
 */
import { existsSync, rmSync, statSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { parseArgs } from "node:util";
import type { SiemConfig } from "../../src/config/schema.ts";
import { createLog } from "../../src/log.ts";
import { boundEvent } from "../../src/report/bounds.ts";
import type { SensorEvent } from "../../src/report/event.ts";
import { startReporting } from "../../src/report/outbox.ts";
import { DEFAULT_SEVERITIES, formatSyslog, type SyslogSettings } from "../../src/report/syslog.ts";
import { toJsonLine } from "../../src/text.ts";
import { needProgram, openPlace, type Place, runToEnd, waitFor } from "../system/lib/place.ts";
import { type Receiver, startReceiver } from "../system/lib/receivers.ts";
import { makeCertificates } from "../unit/report/certificates.ts";
import { content, file, link, mailRow, SENSOR, verdictEvent } from "../unit/report/fixtures.ts";
import { openInThread } from "../unit/spool/fixtures.ts";

const WAYS = ["tcp", "tls", "relp", "file", "socket", "logger"] as const;
type Way = (typeof WAYS)[number];

const SETTINGS: SyslogSettings = {
  facility: "local0",
  hostname: "sensor",
  appName: "email-sensor",
  procId: "1",
};

function someEvents(count: number): readonly SensorEvent[] {
  return Array.from({ length: count }, (_, n) =>
    boundEvent(
      verdictEvent(
        mailRow([
          file(`invoice-${n}.zip`, content({ verdict: "malicious", threat_names: ["Some.Threat"] })),
          link(`https://host-${n}.example.org/path?q=${n}`, content()),
        ]),
      ),
    ),
  );
}

function destination(change: Partial<SiemConfig>): SiemConfig {
  return {
    name: "bench",
    format: "json",
    events: ["mail.verdict"],
    min_verdict: "clean",
    split: false,
    framing: "octet-counting",
    header: "rfc5424",
    facility: "local0",
    severity: DEFAULT_SEVERITIES,
    app_name: "email-sensor",
    timeout: 10_000,
    ...change,
  };
}

/** Seconds from `begin` until the file has `bytes` more. */
async function timed(path: string, bytes: number, begin: () => Promise<void> | void): Promise<number> {
  const size = () => (existsSync(path) ? statSync(path).size : 0);
  const target = size() + bytes;
  const begun = performance.now();
  await begin();
  await waitFor("the last event", () => (size() >= target ? true : undefined), 120);
  return (performance.now() - begun) / 1000;
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: { rounds: { type: "string" }, events: { type: "string" }, only: { type: "string" } },
  });
  const rounds = Number(values.rounds ?? 3);
  const count = Number(values.events ?? 20_000);
  const ways = WAYS.filter((way) => values.only === undefined || values.only.split(",").includes(way));
  const place = openPlace("bench-report");
  try {
    const made = makeCertificates("siem.example.org", place.path, "sensor.example.org");
    const receiver = await startReceiver(place, "rsyslog", made);
    const events = someEvents(count);
    const messages = events.map((event) => formatSyslog(event, toJsonLine(event), SETTINGS));
    const spool = await openInThread(join(place.path, "spool"), { keepEvents: 1e9 });
    // A destination starts at the end of the outbox: each round has one of its own, made before the events.
    const names = ways.flatMap((way) => Array.from({ length: rounds }, (_, round) => `${way}-${round}`));
    await spool.addDestinations(names.map((name) => `siem:${name}`));
    for (let at = 0; at < count; at += 1000) await spool.putEvents(events.slice(at, at + 1000));
    const bytes = events.reduce((sum, event) => sum + Buffer.byteLength(toJsonLine(event)) + 1, 0);
    process.stdout.write(
      `${count} events of ${Math.round(bytes / count)} bytes; events a second at rsyslog\n\n`,
    );

    const tls = {
      verify: true,
      ca_file: made.ca,
      cert_file: made.client.cert,
      key_file: made.client.key,
      server_name: "siem.example.org",
    };
    const to = (scheme: string, port: number) => `${scheme}://127.0.0.1:${port}`;
    const report = async (
      change: Partial<SiemConfig> & { readonly name: string },
      path: string,
    ): Promise<number> => {
      let reporting: ReturnType<typeof startReporting> | undefined;
      // Lines are made and thrown away, as a journal would take them.
      const log = createLog("info", () => {});
      const seconds = await timed(path, bytes, () => {
        reporting = startReporting({
          destinations: [destination(change)],
          spool,
          sensorId: SENSOR.id,
          secret: new Uint8Array(32),
          log,
        });
      });
      await reporting?.stop();
      return seconds;
    };
    const measure: Readonly<Record<Way, (name: string) => Promise<number>>> = {
      tcp: (name) => report({ name, syslog: to("tcp", receiver.ports.tcp) }, receiver.path),
      tls: (name) => report({ name, syslog: to("tls", receiver.ports.tls), tls }, receiver.path),
      relp: (name) => report({ name, syslog: to("relp", receiver.ports.relp) }, receiver.path),
      file: (name) => {
        const path = join(place.path, "events.json");
        rmSync(path, { force: true });
        return report({ name, file: { path, max_size: 1e12, keep: 1 } }, path);
      },
      socket: () => timed(receiver.path, bytes, () => bareSocket(receiver, messages)),
      logger: () => withLogger(place, receiver, events, bytes),
    };
    for (const way of ways) {
      const rates: number[] = [];
      for (let round = 0; round < rounds; round += 1) {
        rates.push(count / (await measure[way](`${way}-${round}`)));
      }
      rates.sort((a, b) => a - b);
      const median = rates[Math.floor(rates.length / 2)] ?? 0;
      const all = rates.map((rate) => Math.round(rate)).join(", ");
      process.stdout.write(`${way.padEnd(8)}${String(Math.round(median)).padStart(8)}   (${all})\n`);
    }
    await spool.close();
  } finally {
    await place.close();
  }
}

/** One write of all messages, framed by octet counts. */
function bareSocket(receiver: Receiver, messages: readonly string[]): Promise<void> {
  const framed = Buffer.from(messages.map((text) => `${Buffer.byteLength(text)} ${text}`).join(""));
  return new Promise((resolve, reject) => {
    const socket = connect({ host: "127.0.0.1", port: receiver.ports.tcp });
    socket.once("error", reject);
    socket.end(framed, () => resolve());
  });
}

async function withLogger(
  place: Place,
  receiver: Receiver,
  events: readonly SensorEvent[],
  bytes: number,
): Promise<number> {
  const lines = join(place.path, "lines");
  writeFileSync(lines, events.map((event) => `${toJsonLine(event)}\n`).join(""));
  const logger = [
    ...[needProgram("logger", "bsdutils"), "-n", "127.0.0.1", "-P", String(receiver.ports.tcp), "-T"],
    ...["--octet-count", "--rfc5424", "-S", "65536", "-f", lines],
  ];
  return timed(receiver.path, bytes, async () => {
    const { code, stderr } = await runToEnd(logger, { seconds: 120 });
    if (code !== 0) throw new Error(`logger failed: ${stderr}`);
  });
}

await main();
