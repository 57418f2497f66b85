/**
 * Events at real receivers: rsyslog and syslog-ng with the configuration of docs/receivers/, over every transport,
 * whatever a mail holds and whoever dies. EMAIL_SENSOR_LONG gives the number of events of the fault run.
 */
import { afterEach, beforeEach, expect, test } from "bun:test";
import { existsSync, mkdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { composeState } from "../../src/report/compose.ts";
import type { SensorEvent } from "../../src/report/event.ts";
import { type Certificates, makeCertificates } from "../unit/report/certificates.ts";
import { tcpPeer } from "../unit/report/peers.ts";
import { open as openSpool } from "../unit/spool/fixtures.ts";
import { binaryPath, launchSensor, startAnalyzer } from "./lib/binary.ts";
import { smallDisk } from "./lib/disk.ts";
import { mails } from "./lib/mails.ts";
import { openPlace, type Place, runToEnd, waitFor } from "./lib/place.ts";
import { type Receiver, startReceiver } from "./lib/receivers.ts";
import { sendMails } from "./lib/smtp.ts";

let place: Place;
let made: Certificates;
beforeEach(() => {
  place = openPlace("report");
  made = makeCertificates("siem.example.org", place.path, "sensor.example.org");
});
afterEach(() => place.close());

const tls = () => ({
  ca_file: made.ca,
  cert_file: made.client.cert,
  key_file: made.client.key,
  server_name: "siem.example.org",
});
const to = (scheme: string, port: number) => `${scheme}://127.0.0.1:${port}`;

const HOSTILE =
  'x"}\r\n <0>1 2020-01-01T00:00:00Z evil su - - - forged\u0000\u001b[2J\u0085\u2028\u202e \\" ]] \t{"id":1} \u{1F600}';

function hostileMail(): string {
  const encoded = (text: string) => `=?utf-8?B?${Buffer.from(text).toString("base64")}?=`;
  return [
    "From: <alice@example.com>",
    "To: bob@example.org",
    `Subject: ${encoded(HOSTILE)}`,
    "Message-ID: <hostile@example.com>",
    "MIME-Version: 1.0",
    'Content-Type: multipart/mixed; boundary="b"',
    "",
    "--b",
    "Content-Type: text/html; charset=utf-8",
    "",
    '<a href="http://malicious.example/a%0a%0d&quot;}&#10;<1>?q=\u2028">x</a>',
    "--b",
    `Content-Type: application/octet-stream; name="${encoded(`${HOSTILE}.js`)}"`,
    `Content-Disposition: attachment; filename="${encoded(`${HOSTILE}.js`)}"`,
    "",
    "WScript.Echo(1)",
    "--b--",
    "",
  ].join("\r\n");
}

test("a hostile mail is one message with the same bytes over every transport to rsyslog and syslog-ng", async () => {
  const analyzer = await startAnalyzer(place);
  const wanted = { events: ["mail.verdict"] };
  const targets: [string, Receiver, string, object][] = [];
  for (const kind of ["rsyslog", "syslog-ng"] as const) {
    const inputs =
      kind === "rsyslog"
        ? (["udp", "tcp", "tls", "relp", "relps"] as const)
        : (["udp", "tcp", "tls"] as const);
    for (const input of inputs) {
      const receiver = await startReceiver(place, kind, made);
      const scheme = input === "relps" ? "relp" : input;
      const secure = input === "tls" || input === "relps" ? { tls: tls() } : {};
      targets.push([`${kind}-${input}`, receiver, to(scheme, receiver.ports[input]), secure]);
    }
  }
  const path = join(place.path, "events.json");
  const sensor = await launchSensor(place, {
    analyzer,
    config: {
      siem: [
        { name: "file", file: { path }, ...wanted },
        ...targets.map(([name, , syslog, more]) => ({ name, syslog, ...more, ...wanted })),
        {
          name: "structured",
          syslog: targets[1]?.[2],
          structured_data: "emailsensor@32473",
          ...wanted,
        },
      ],
    },
  });
  const sent = await sendMails(sensor.smtpPort, [
    { key: "h", from: "alice@example.com", to: ["bob@example.org"], content: hostileMail() },
  ]);
  expect(sent.refused).toEqual([]);
  const [line = ""] = await waitFor("the event in the file", () => {
    const lines = existsSync(path) ? readFileSync(path, "utf8").split("\n").slice(0, -1) : [];
    return lines.length > 0 ? lines : undefined;
  });
  const event = JSON.parse(line) as SensorEvent;
  expect(event.mail?.message_id).toBe("<hostile@example.com>");
  expect(event.mail?.subject).toContain("forged");
  expect(event.attachments?.[0]?.filename).toContain("forged");
  for (const [name, receiver] of targets) {
    const copies = name === "rsyslog-tcp" ? 2 : 1;
    await waitFor(`the event at ${name}`, () => (receiver.lines().length >= copies ? true : undefined));
    expect([name, receiver.lines()]).toEqual([name, Array<string>(copies).fill(line)]);
  }
  expect(await sensor.stop()).toBe(0);
}, 600_000);

/** The numbers of the events in the lines of a receiver. A line that a kill tore may have another one behind it. */
function numbersOf(lines: readonly string[]): number[] {
  return lines.flatMap((line) =>
    line.split(/(?=\{"schema":")/).flatMap((piece) => {
      try {
        const { state } = JSON.parse(piece) as SensorEvent;
        return state?.name === "numbered" ? [Number(state.message)] : [];
      } catch {
        return [];
      }
    }),
  );
}

/** Puts events into the outbox of a sensor that does not run, numbered from `from` up to before `end`. */
async function putNumbered(spoolPath: string, from: number, end: number): Promise<void> {
  const spool = await openSpool(spoolPath);
  for (let at = from; at < end; at += 1000) {
    const events = Array.from({ length: Math.min(1000, end - at) }, (_, n) =>
      composeState("numbered", String(at + n), { id: "sensor", version: "1" }, Date.now()),
    );
    await spool.putEvents(events);
  }
  await spool.close();
}

type HookAnswer = "take" | "busy" | "take and fail" | "hang";

type Hook = {
  readonly url: string;
  /** Whole events in the order in which they were taken. */
  readonly taken: SensorEvent[];
  readonly requests: () => number;
  stop(): Promise<void>;
};

/**
 * A webhook over TLS that wants the certificate of the sensor. `answer` is given the number of the request, from 1, and
 * says what becomes of it: taken, refused for now, taken with an answer that says no, or not answered in time.
 */
function startHook(answer: (request: number) => HookAnswer | Promise<HookAnswer>): Hook {
  const taken: SensorEvent[] = [];
  let requests = 0;
  const server = Bun.serve({
    port: 0,
    hostname: "127.0.0.1",
    idleTimeout: 60,
    tls: {
      cert: readFileSync(made.server.cert, "utf8"),
      key: readFileSync(made.server.key, "utf8"),
      ca: readFileSync(made.ca, "utf8"),
      requestCert: true,
      rejectUnauthorized: true,
    },
    async fetch(request) {
      const body = await request.text();
      requests += 1;
      const how = await answer(requests);
      if (how === "hang") await new Promise((resolve) => request.signal.addEventListener("abort", resolve));
      if (how === "busy" || how === "hang") return new Response("later", { status: 503 });
      for (const line of body.trimEnd().split("\n")) taken.push(JSON.parse(line));
      return new Response("", { status: how === "take" ? 200 : 500 });
    },
  });
  const stop = async () => void (await server.stop(true));
  place.onClose(stop);
  return { url: `https://127.0.0.1:${server.port}/events`, taken, requests: () => requests, stop };
}

const hookSection = (url: string, batch: number) => ({
  https: { kind: "webhook", url, body: "ndjson", max_batch_events: batch },
  tls: tls(),
});

const DOWN = "the destination is down, its events wait";

/** Every number is there, each for the first time in its order; gives how often the sensor went back. */
function expectAllInOrder(name: string, numbers: readonly number[], count: number): number {
  let highest = -1;
  let backward = 0;
  let last = -1;
  for (const number of numbers) {
    if (number > highest + 1)
      throw new Error(`${name}: ${highest + 1} to ${number - 1} are missing before ${number}`);
    if (number <= last) backward += 1;
    highest = Math.max(highest, number);
    last = number;
  }
  expect([name, highest]).toEqual([name, count - 1]);
  return backward;
}

test("every event is at every receiver, in order, though receivers and the sensor are killed and a disk is full", async () => {
  const count = Number(process.env.EMAIL_SENSOR_LONG ?? "20000");
  const analyzer = await startAnalyzer(place);
  const [byTcp, byTls, byRelp] = [
    await startReceiver(place, "rsyslog", made),
    await startReceiver(place, "rsyslog", made),
    await startReceiver(place, "rsyslog", made),
  ];
  const steady = await startReceiver(place, "syslog-ng", made);
  // Reads for a moment, then not at all for ten times as long.
  const slow = await tcpPeer();
  place.onClose(() => slow.close());
  let ticks = 0;
  const slowness = setInterval(() => {
    slow.pause(ticks % 11 !== 0);
    ticks += 1;
  }, 10);
  place.onClose(async () => clearInterval(slowness));
  const hook = startHook((request) => {
    if (request === 20) return "hang";
    if (request % 7 === 3) return "busy";
    return request % 13 === 5 ? "take and fail" : "take";
  });
  const disk = join(place.path, "disk");
  mkdirSync(disk);
  const mounted = await runToEnd(["mount", "-t", "tmpfs", "-o", "size=64m,mode=0755", "none", disk]);
  if (mounted.code === 0) place.onClose(async () => void (await runToEnd(["umount", "--lazy", disk])));
  const path = join(disk, "events.json");
  const sensor = await launchSensor(place, {
    analyzer,
    config: {
      siem: [
        { name: "tcp", syslog: to("tcp", byTcp.ports.tcp) },
        { name: "tls", syslog: to("tls", byTls.ports.tls), tls: tls() },
        { name: "relp", syslog: to("relp", byRelp.ports.relp) },
        { name: "steady", syslog: to("tls", steady.ports.tls), tls: tls() },
        { name: "file", file: { path, max_size: "1TB" } },
        { name: "slow", syslog: to("tcp", slow.port) },
        { name: "hook", timeout: "10s", ...hookSection(hook.url, 200) },
      ],
      log: { level: "warn" },
    },
  });
  const full = join(disk, "filler");
  if (mounted.code === 0) await runToEnd(["dd", "if=/dev/zero", `of=${full}`, "bs=1M", "count=70"]);
  const killed = [byTcp, byTls, byRelp];
  const written = (receiver: Receiver) => numbersOf(receiver.lines());
  const slowNumbers = () =>
    numbersOf(slow.messages.map((message) => message.slice(Math.max(0, message.indexOf("{")))));
  const hookNumbers = () =>
    hook.taken.flatMap(({ state }) => (state?.name === "numbered" ? [Number(state.message)] : []));
  const fileNumbers = () =>
    numbersOf(existsSync(path) ? readFileSync(path, "utf8").split("\n").slice(0, -1) : []);
  let cuts = 0;
  const parts = 5;
  for (let part = 0; part < parts; part += 1) {
    await sensor.kill();
    await putNumbered(sensor.spoolPath, (count / parts) * part, (count / parts) * (part + 1));
    if (part === 3) rmSync(full, { force: true });
    await sensor.start();
    steady.freeze(true);
    for (let round = 0; round < 4; round += 1) {
      await Bun.sleep(50 + 300 * round);
      cuts += 1;
      const signal = cuts % 2 === 0 ? "SIGKILL" : "SIGTERM";
      await Promise.all(killed.map((receiver) => receiver.kill(signal)));
      await Promise.all(killed.map((receiver) => receiver.start()));
    }
    steady.freeze(false);
  }
  await waitFor(
    "the last event everywhere",
    () =>
      [...killed, steady].every((receiver) => written(receiver).includes(count - 1)) &&
      fileNumbers().includes(count - 1) &&
      slowNumbers().includes(count - 1) &&
      hookNumbers().includes(count - 1)
        ? true
        : undefined,
    180 + count / 500,
  );
  const backward = [
    ...killed.map((receiver, at) =>
      expectAllInOrder(["tcp", "tls", "relp"][at] ?? "", written(receiver), count),
    ),
    expectAllInOrder("steady", written(steady), count),
    expectAllInOrder("file", fileNumbers(), count),
    expectAllInOrder("slow", slowNumbers(), count),
  ];
  // What it took and then failed comes again, and so does what a kill of the sensor interrupted.
  const again = expectAllInOrder("hook", hookNumbers(), count);
  expect(again).toBeGreaterThan(0);
  expect(again).toBeLessThanOrEqual(Math.ceil(hook.requests() / 13) + parts);
  // What is repeated begins at a cut: no more steps back than cuts.
  for (const steps of backward) expect(steps).toBeLessThanOrEqual(cuts + parts);
  const down = new Set(
    sensor.log().flatMap(({ msg, destination }) => (msg === DOWN ? [String(destination)] : [])),
  );
  // Without these the run would have proved nothing. RELP may have had its answers before each cut.
  expect([...down]).toContain("siem:tcp");
  expect([...down]).toContain("siem:tls");
  expect([...down]).toContain("siem:hook");
  if (mounted.code === 0) expect([...down]).toContain("siem:file");
  expect(await sensor.stop()).toBe(0);
}, 600_000);

test("replay sends what is kept once more under its ids, goes on after a crash, and holds up nothing", async () => {
  const count = 3000;
  const analyzer = await startAnalyzer(place);
  let release: () => void = () => {};
  let held: Promise<void> = Promise.resolve();
  const hook = startHook(async (): Promise<HookAnswer> => {
    await held;
    await Bun.sleep(30);
    return "take";
  });
  const sensor = await launchSensor(place, {
    analyzer,
    config: { siem: [{ name: "hook", ...hookSection(hook.url, 100) }] },
  });
  const replay = (...args: string[]) =>
    runToEnd([binaryPath(), "replay", "--address", `unix:${sensor.control}`, "--json", ...args]);
  await sensor.kill();
  await putNumbered(sensor.spoolPath, 0, count);
  await sensor.start();
  const numbered = () => hook.taken.filter(({ state }) => state?.name === "numbered");
  await waitFor("all events", () => (numbered().length >= count ? true : undefined));
  const first = new Map(numbered().map(({ id, state }) => [state?.message, id]));
  const before = hook.taken.length;
  held = new Promise((resolve) => {
    release = resolve;
  });

  expect(await replay("--since", "1h", "--to", "nobody")).toMatchObject({ code: 1, stdout: "" });
  const started = await replay("--since", "1h", "--to", "hook");
  expect(started.code).toBe(0);
  const said = JSON.parse(started.stdout);
  expect(said).toMatchObject({ destination: "hook" });
  expect(said.events).toBeGreaterThanOrEqual(count);
  expect(await replay("--since", "1h", "--to", "hook")).toMatchObject({ code: 1, stdout: "" });

  release();
  held = Promise.resolve();
  const ended = () => sensor.log().find(({ msg }) => msg === "the replay ended");
  await waitFor("a part of the replay", () => (hook.taken.length > before + count / 3 ? true : undefined));
  held = new Promise((resolve) => {
    release = resolve;
  });
  await sensor.kill();
  release();
  expect(ended()).toBeUndefined();
  await sensor.start();
  const mail = { key: "m", from: "a@example.com", to: ["b@example.org"], content: hostileMail() };
  expect((await sendMails(sensor.smtpPort, [mail])).refused).toEqual([]);
  await waitFor("the end of the replay", ended);
  await waitFor("the verdict of a mail of that time", () =>
    hook.taken.find(({ type }) => type === "mail.verdict"),
  );
  const times = new Map<string, number>();
  for (const { id, state } of hook.taken.slice(before)) {
    if (state?.name !== "numbered") continue;
    expect(id).toBe(first.get(state.message) ?? "");
    times.set(id, (times.get(id) ?? 0) + 1);
  }
  expect(times.size).toBe(count);
  // A crash repeats what was under way, not the whole.
  expect([...times.values()].filter((n) => n > 1).length).toBeLessThan(count / 3);
  expect((await replay("--since", "1h", "--until", "59m", "--to", "hook")).stdout).toContain('"events":0');
  expect(await sensor.stop()).toBe(0);
}, 600_000);

test("a spool whose disk is full while verdicts come in tells every event once there is room", async () => {
  const disk = await smallDisk(place, 48);
  const analyzer = await startAnalyzer(place);
  await analyzer.stop();
  const siem = await startReceiver(place, "rsyslog", made);
  const sensor = await launchSensor(place, {
    analyzer,
    config: {
      spool: { path: join(disk.path, "spool"), min_free: "0B" },
      siem: [{ name: "siem", syslog: to("tcp", siem.ports.tcp), events: ["mail.verdict", "url.verdict"] }],
    },
  });
  const all = mails(200, 40);
  expect((await sendMails(sensor.smtpPort, all, { connections: 4 })).refused).toEqual([]);
  const judged = () => {
    const events = siem.lines().map((line) => JSON.parse(line) as SensorEvent);
    const verdicts = events.filter(({ type }) => type === "mail.verdict");
    return new Map(verdicts.map((event) => [event.mail?.message_id, event]));
  };
  disk.fill();
  await analyzer.restart();
  await waitFor("a fault of the full disk in the log", () =>
    sensor.log().find(({ code }) => code === "SPOOL_FULL"),
  );
  await sensor.kill();
  // Nothing can be opened on it: the service manager tries until there is room, and the MTA keeps its mails.
  const { code, stderr } = await runToEnd([binaryPath(), "run", "--config", sensor.configPath]);
  expect([code, stderr]).toEqual([1, expect.stringContaining("Free space on the file system")]);
  expect(judged().size).toBeLessThan(all.length);
  disk.empty();
  await sensor.start();
  await waitFor("the verdict of each mail", () => (judged().size >= all.length ? true : undefined));
  for (const { key, verdict } of all) expect([key, judged().get(key)?.verdict]).toEqual([key, verdict]);
  expect(await sensor.stop()).toBe(0);
}, 600_000);
