import { afterEach, describe, expect, test } from "bun:test";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { SiemConfig } from "../../../src/config/schema.ts";
import { SensorError } from "../../../src/errors.ts";
import { composeChanged, composeFailed, composeState } from "../../../src/report/compose.ts";
import { pauseAfter, startDelivery } from "../../../src/report/delivery.ts";
import type { SensorEvent } from "../../../src/report/event.ts";
import { createFormatter } from "../../../src/report/formats/formatter.ts";
import { formatMessages, siemCursor, startReporting } from "../../../src/report/outbox.ts";
import { DEFAULT_SEVERITIES } from "../../../src/report/syslog.ts";
import type { Delivery } from "../../../src/report/transport.ts";
import { wholeEvents } from "../../../src/report/transport.ts";
import type { Spool } from "../../../src/spool/spool.ts";
import { judge } from "../../../src/verdict/judge.ts";
import { freePort } from "../../ports.ts";
import { until } from "../../until.ts";
import { open, temporaryFolder } from "../spool/fixtures.ts";
import {
  content,
  file,
  link,
  mailRow,
  NO_TYPES,
  NOON,
  recordingLog,
  SENSOR,
  verdictEvent,
} from "./fixtures.ts";
import { tcpPeer, udpPeer } from "./peers.ts";

const SECRET = Buffer.alloc(32, 1);
const closing: (() => Promise<void> | void)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

async function someSpool(names: readonly string[]): Promise<Spool> {
  const folder = temporaryFolder();
  closing.push(folder.remove);
  const spool = await open(folder.path);
  closing.push(() => spool.close());
  await spool.addDestinations(names);
  return spool;
}

function siem(name: string, syslog: string, change: Partial<SiemConfig> = {}): SiemConfig {
  return {
    name,
    syslog,
    format: "json",
    split: false,
    events: ["mail.verdict", "mail.failed", "verdict.changed", "sensor.state"],
    min_verdict: "clean",
    framing: "octet-counting",
    header: "rfc5424",
    facility: "local0",
    severity: DEFAULT_SEVERITIES,
    app_name: "email-sensor",
    timeout: 1000,
    ...change,
  };
}

function report(spool: Spool, destinations: readonly SiemConfig[]) {
  const { log, lines } = recordingLog();
  const reporting = startReporting({ destinations, spool, sensorId: SENSOR.id, secret: SECRET, log });
  closing.push(() => reporting.stop());
  return { reporting, lines };
}

const states = (count: number, from = 0) =>
  Array.from({ length: count }, (_, n) => composeState("count", `${from + n}`, SENSOR, NOON));
const eventOf = (message: string): SensorEvent => JSON.parse(message.slice(message.indexOf("{")));
const counts = (messages: readonly string[]) =>
  messages.map((message) => Number(eventOf(message).state?.message));
const upTo = (count: number) => Array.from({ length: count }, (_, n) => n);

describe("reporting", () => {
  test("brings every event to each destination in order, and moves the cursor behind them", async () => {
    const [tcp, udp] = [await tcpPeer(), await udpPeer()];
    closing.push(tcp.close, udp.close);
    const spool = await someSpool(["siem:a", "siem:b"]);
    const { reporting } = report(spool, [
      siem("a", `tcp://127.0.0.1:${tcp.port}`),
      siem("b", `udp://127.0.0.1:${udp.port}`),
    ]);
    await spool.putEvents(states(1500));
    await until(() => tcp.messages.length === 1500 && udp.messages.length === 1500);
    expect(counts(tcp.messages)).toEqual(upTo(1500));
    expect(counts(udp.messages)).toEqual(upTo(1500));
    const last = await spool.lastSeq();
    for (const destination of ["siem:a", "siem:b"]) {
      await until(async () => (await spool.cursor(destination)) >= last, `the cursor of ${destination}`);
    }
    expect(
      (await reporting.status()).map(({ state, backlog, delivered }) => [state, backlog, delivered]),
    ).toEqual([
      ["up", 0, 1500],
      ["up", 0, 1500],
    ]);
  });

  test("loses nothing while a destination is down from the start, and holds no other up", async () => {
    const port = await freePort();
    const other = await tcpPeer();
    closing.push(other.close);
    const spool = await someSpool(["siem:down", "siem:up"]);
    const { reporting, lines } = report(spool, [
      siem("down", `tcp://127.0.0.1:${port}`),
      siem("up", `tcp://127.0.0.1:${other.port}`),
    ]);
    for (let n = 0; n < 10; n += 1) await spool.putEvents(states(20, n * 20));
    await until(() => other.messages.length === 200);
    await until(async () => (await reporting.status())[0]?.state === "down", "the first to be down");
    const [down] = await reporting.status();
    expect(down).toMatchObject({ state: "down", backlog: 200, delivered: 0 });
    expect(down?.lastError).toStartWith("SIEM_UNREACHABLE: ");
    const late = await tcpPeer(port);
    closing.push(late.close);
    await until(() => late.messages.length === 200);
    expect(counts(late.messages)).toEqual(upTo(200));
    await until(() => lines.some(({ msg }) => msg === "the destination is up again"));
    expect(lines.filter(({ code }) => code === "SIEM_UNREACHABLE")).toHaveLength(1);
  });

  test("sends again around a cut, in order, none missing", async () => {
    const peer = await tcpPeer();
    closing.push(peer.close);
    const spool = await someSpool(["siem:a"]);
    report(spool, [siem("a", `tcp://127.0.0.1:${peer.port}`)]);
    for (let n = 0; n < 6; n += 1) {
      await spool.putEvents(states(300, n * 300));
      await until(() => peer.messages.length > n * 200);
      peer.cut();
    }
    await until(() => new Set(counts(peer.messages)).size === 1800);
    const seen = counts(peer.messages);
    // Whatever is repeated: the first arrival of each is in order, and no step forward leaves one out.
    let highest = -1;
    for (const count of seen) {
      expect(count).toBeLessThanOrEqual(highest + 1);
      highest = Math.max(highest, count);
    }
    expect(highest).toBe(1799);
  });

  test("goes on after a restart where the cursor is", async () => {
    const peer = await tcpPeer();
    closing.push(peer.close);
    const spool = await someSpool(["siem:a"]);
    const target = [siem("a", `tcp://127.0.0.1:${peer.port}`)];
    const first = report(spool, target);
    await spool.putEvents(states(50));
    await until(() => peer.messages.length === 50);
    await first.reporting.stop();
    expect(await spool.cursor("siem:a")).toBe(await spool.lastSeq());
    await spool.putEvents(states(50, 50));
    report(spool, target);
    await until(() => peer.messages.length === 100);
    expect(counts(peer.messages)).toEqual(upTo(100));
  });

  test("leaves out types and verdicts a destination does not want, and passes them", async () => {
    const peer = await tcpPeer();
    closing.push(peer.close);
    const spool = await someSpool(["siem:a"]);
    const { reporting } = report(spool, [
      siem("a", `tcp://127.0.0.1:${peer.port}`, {
        events: ["mail.verdict", "sensor.state"],
        min_verdict: "suspicious",
      }),
    ]);
    const of = (verdict: "clean" | "not_available" | "suspicious" | "malicious") =>
      verdictEvent(mailRow([file("x", content({ verdict }))]));
    const wanted = [of("malicious"), of("suspicious"), ...states(1)];
    await spool.putEvents([
      of("clean"),
      ...wanted,
      of("not_available"),
      { ...of("malicious"), type: "mail.failed" },
    ]);
    await until(() => peer.messages.length === 3);
    await reporting.stop();
    expect(peer.messages.map((message) => eventOf(message).id)).toEqual(wanted.map(({ id }) => id));
    expect(await spool.cursor("siem:a")).toBe(await spool.lastSeq());
  });

  test("writes files and requests as it sends messages, and tells what a receiver refused for good", async () => {
    const folder = temporaryFolder();
    closing.push(folder.remove);
    const path = join(folder.path, "events.json");
    const bodies: string[] = [];
    const server = Bun.serve({
      port: 0,
      hostname: "127.0.0.1",
      async fetch(request) {
        const body = await request.text();
        bodies.push(body);
        return new Response("", { status: body.includes("too much") ? 413 : 200 });
      },
    });
    closing.push(() => server.stop(true));
    const spool = await someSpool(["siem:file", "siem:hook"]);
    const { syslog: _, ...none } = siem("file", "udp://127.0.0.1:9");
    report(spool, [
      { ...none, file: { path, max_size: 1_000_000, keep: 1 } },
      {
        ...none,
        name: "hook",
        https: {
          kind: "webhook",
          url: `http://127.0.0.1:${server.port}`,
          headers: [],
          data_stream: "logs",
          body: "ndjson",
          gzip: false,
          max_batch_events: 2,
          max_batch_size: 100_000,
        },
      },
    ]);
    const failed = composeFailed(mailRow(), "EXTRACT_FAILED: too much", SENSOR, NOON);
    await spool.putEvents([...states(3), failed, ...states(1, 3)]);
    const lines = () => (existsSync(path) ? readFileSync(path, "utf8").split("\n").slice(0, -1) : []);
    await until(() => lines().length === 6);
    expect(lines().map((line) => eventOf(line).type)).toEqual([
      "sensor.state",
      "sensor.state",
      "sensor.state",
      "mail.failed",
      "sensor.state",
      "sensor.state",
    ]);
    const told = eventOf(lines().at(-1) ?? "").state;
    expect(told?.name).toBe("event_refused");
    expect(told?.message).toContain(failed.id);
    await until(() => bodies.some((body) => body.includes('"message":"3"')));
  });

  test("tells of a mail that failed also where only malicious mails are wanted", async () => {
    const peer = await tcpPeer();
    closing.push(peer.close);
    const spool = await someSpool(["siem:a"]);
    report(spool, [siem("a", `tcp://127.0.0.1:${peer.port}`, { min_verdict: "malicious" })]);
    await spool.putEvents([composeFailed(mailRow([]), "EXTRACT_CRASHED: it died", SENSOR, NOON)]);
    await until(() => peer.messages.length === 1);
    expect(eventOf(peer.messages[0] ?? "").type).toBe("mail.failed");
  });

  test("tells of a mail that is malicious no more also where only malicious mails are wanted", async () => {
    const peer = await tcpPeer();
    closing.push(peer.close);
    const spool = await someSpool(["siem:a"]);
    report(spool, [siem("a", `tcp://127.0.0.1:${peer.port}`, { min_verdict: "malicious", split: true })]);
    const changed = (from: "malicious" | "suspicious") => {
      const mail = mailRow([{ ...link("https://a.example/", content()), was: from }]);
      const change = { id: Bun.randomUUIDv7(), because: "late", mails: 1, from, beside: [] } as const;
      return composeChanged(mail, judge(mail), change, SENSOR, NO_TYPES, NOON);
    };
    await spool.putEvents([...changed("suspicious"), ...changed("malicious"), ...states(1)]);
    await until(() => peer.messages.length === 3);
    expect(
      peer.messages.map((message) => eventOf(message)).map(({ type, verdict }) => [type, verdict]),
    ).toEqual([
      ["url.verdict", "clean"],
      ["verdict.changed", "clean"],
      ["sensor.state", undefined],
    ]);
  });

  test("sends the customer's own line, and JSON where the template fails on an event", async () => {
    const peer = await tcpPeer();
    closing.push(peer.close);
    const spool = await someSpool(["siem:a"]);
    const { lines } = report(spool, [
      siem("a", `tcp://127.0.0.1:${peer.port}`, {
        format: "template",
        template: "{% if state.message == '1' %}{% else %}n={{ state.message }}{% endif %}",
      }),
    ]);
    const events = states(3);
    await spool.putEvents(events);
    await until(() => peer.messages.length === 3);
    expect(peer.messages[0]).toEndWith(" sensor.state - n=0");
    expect(eventOf(peer.messages[1] ?? "").id).toBe(events[1]?.id ?? "");
    expect(peer.messages[2]).toEndWith(" sensor.state - n=2");
    expect(lines.filter(({ code }) => code === "TEMPLATE_FAILED")).toMatchObject([
      { event_id: events[1]?.id },
    ]);
  });

  test("sends events once more beside what comes anyway, and goes on with it after a restart", async () => {
    const peer = await tcpPeer();
    closing.push(peer.close);
    const spool = await someSpool(["siem:a"]);
    const target = [siem("a", `tcp://127.0.0.1:${peer.port}`, { min_verdict: "suspicious" })];
    const clean = verdictEvent(mailRow([file("x", content())]));
    await spool.putEvents([...states(700), clean]);
    await spool.advanceCursor("siem:a", 701);
    const first = report(spool, target);
    expect(await first.reporting.replay("b", 0, Date.now())).toBe("unknown");
    expect(await first.reporting.replay("a", 0, Date.now())).toBe(701);
    expect(await first.reporting.replay("a", 0, Date.now())).toBe("running");
    await until(() => peer.messages.length > 0);
    await first.reporting.stop();
    report(spool, target);
    await spool.putEvents(states(1, 700));
    await until(() => new Set(counts(peer.messages)).size === 701);
    await until(async () => (await spool.replay("siem:a")) === null, "the end of the replay");
    expect(await spool.cursor("siem:a")).toBeGreaterThanOrEqual(701);
    expect(counts(peer.messages)).toContain(700);
    expect(peer.messages.some((message) => message.includes(clean.id))).toBe(false);
  });

  test("does not start on a template that is wrong, and says which and where", async () => {
    const folder = temporaryFolder();
    closing.push(folder.remove);
    const path = join(folder.path, "siem.liquid");
    writeFileSync(path, "fine\n{{ verdict | nosuch }}");
    const spool = await someSpool(["siem:a"]);
    const start = (change: Partial<SiemConfig>) => () =>
      report(spool, [siem("a", "udp://127.0.0.1:9", { format: "template", ...change })]);
    expect(start({ template_file: path })).toThrow(/"a": template line 2: .*nosuch/);
    expect(start({ template_file: join(folder.path, "none") })).toThrow(/"a": .*no such file/i);
    expect(start({})).toThrow(/needs template or template_file/);
  });

  test("keeps to the size of the transport", async () => {
    const peer = await udpPeer();
    closing.push(peer.close);
    const spool = await someSpool(["siem:a"]);
    report(spool, [siem("a", `udp://127.0.0.1:${peer.port}`)]);
    const parts = Array.from({ length: 200 }, (_, n) => file(`${n}${"\u00fc".repeat(200)}`, content()));
    await spool.putEvents([verdictEvent(mailRow(parts))]);
    await until(() => peer.messages.length === 1);
    expect(Buffer.byteLength(peer.messages[0] ?? "")).toBeLessThanOrEqual(8192);
    expect(eventOf(peer.messages[0] ?? "").truncated).toContain("/attachments");
  });

  test("has a message for an event that is none", () => {
    const { log, lines } = recordingLog();
    const settings = { facility: "local0", hostname: "h", appName: "a", procId: "1" } as const;
    // What a broken row of an old spool could hold.
    const broken = JSON.parse('{"schema":"s","id":"i","type":5,"time":"x"}') as SensorEvent;
    const json = createFormatter({ name: "a", format: "json" }, log, SECRET);
    const message = String(formatMessages(broken, settings, json, 2048, log).map((one) => Buffer.from(one)));
    expect(JSON.parse(message.slice(message.indexOf("{")))).toMatchObject({ id: "i", truncated: [""] });
    expect(lines).toMatchObject([{ level: "error", event_id: "i" }]);
    expect(message).toMatch(/^<131>1 \S+Z h a 1 mail\.failed - \{/);
    const fails = () => {
      throw new Error("no format");
    };
    const old = { ...settings, facility: "mail", header: "rfc3164" } as const;
    const [bytes = Buffer.alloc(0)] = formatMessages(broken, old, { ...json, format: fails }, 2048, log);
    expect(Buffer.from(bytes).toString()).toMatch(/^<19>\w{3} [ \d]\d \d\d:\d\d:\d\d h a\[1\]: \{/);
    const template = createFormatter({ name: "a", format: "template", template: "{{ type }}" }, log, SECRET);
    const fine = formatMessages(states(1)[0] ?? broken, settings, template, 2048, log);
    expect(fine.map((bytes) => Buffer.from(bytes).toString())).toEqual([
      expect.stringMatching(/ - sensor\.state$/),
    ]);
  });

  test("takes an event for delivered when all of its messages are", () => {
    const formatted = [[1, 2], [], [3], [4, 5]];
    expect([0, 1, 2, 3, 4, 5].map((messages) => wholeEvents(formatted, messages))).toEqual([
      0, 0, 2, 3, 3, 4,
    ]);
  });

  test("names its cursors by the destination", () => {
    expect(siemCursor({ name: "soc" })).toBe("siem:soc");
  });
});

describe("delivery", () => {
  /** A carrier whose answers the test gives. */
  function manual() {
    const open: { events: readonly SensorEvent[]; settle(delivery: Delivery): void }[] = [];
    return {
      open,
      carrier: {
        carry: (events: readonly SensorEvent[]) =>
          new Promise<Delivery>((settle) => open.push({ events, settle })),
        close: async () => {
          for (const one of open.splice(0)) one.settle({ delivered: 0, fault: down });
        },
      },
    };
  }
  const down = new SensorError("SIEM_UNREACHABLE", "gone");

  test("moves the cursor over what was carried of a hand-over, not over the rest", async () => {
    const spool = await someSpool(["d"]);
    const { open, carrier } = manual();
    const { log } = recordingLog();
    const loop = startDelivery({
      destination: "d",
      name: "d",
      spool,
      log,
      carrier,
      batch: 10,
      wants: () => true,
    });
    await spool.putEvents(states(10));
    await until(() => open.length === 1);
    open.splice(0)[0]?.settle({ delivered: 4, fault: down });
    await until(() => open.length === 1);
    expect(open[0]?.events.map(({ state }) => state?.message)).toEqual(["4", "5", "6", "7", "8", "9"]);
    await loop.stop();
    expect(await spool.cursor("d")).toBe((await spool.lastSeq()) - 6);
  });

  test("does not pass an unwanted event before the wanted one in front of it is carried", async () => {
    const spool = await someSpool(["d"]);
    const { open, carrier } = manual();
    const { log } = recordingLog();
    const wants = ({ state }: SensorEvent) => state?.message === "0";
    const loop = startDelivery({ destination: "d", name: "d", spool, log, carrier, batch: 10, wants });
    await spool.putEvents(states(1));
    await until(() => open.length === 1);
    await spool.putEvents(states(5, 1));
    await Bun.sleep(300);
    expect(await spool.cursor("d")).toBe(0);
    open.splice(0)[0]?.settle({ delivered: 1, fault: null });
    await until(async () => (await spool.cursor("d")) === 6, "the cursor behind all");
    await loop.stop();
  });

  test("hands over no more than is allowed to be open", async () => {
    const spool = await someSpool(["d"]);
    const { open, carrier } = manual();
    const { log } = recordingLog();
    const loop = startDelivery({
      destination: "d",
      name: "d",
      spool,
      log,
      carrier,
      batch: 1,
      maxOpen: 3,
      wants: () => true,
    });
    await spool.putEvents(states(10));
    await until(() => open.length === 3);
    await Bun.sleep(100);
    expect(open).toHaveLength(3);
    open.shift()?.settle({ delivered: 1, fault: null });
    await until(() => open.length === 3);
    expect(open.at(-1)?.events[0]?.state?.message).toBe("3");
    await loop.stop();
  });

  test("held as many long events in memory as short ones", async () => {
    const real = await someSpool(["d"]);
    const size = 10 * 1024 * 1024;
    const spool: Spool = {
      ...real,
      eventsAfter: async (seq, limit) =>
        (await real.eventsAfter(seq, limit)).map((event) => ({ ...event, size })),
    };
    const { open, carrier } = manual();
    const { log } = recordingLog();
    const loop = startDelivery({
      ...{ destination: "d", name: "d", spool, log, carrier, batch: 1, wants: () => true },
    });
    await real.putEvents(states(20));
    await until(() => open.length === 7);
    await Bun.sleep(200);
    expect(open).toHaveLength(7);
    open.shift()?.settle({ delivered: 1, fault: null });
    await until(() => open.length === 7);
    expect(open.at(-1)?.events[0]?.state?.message).toBe("7");
    await loop.stop();
  });

  test("goes on when the spool is healed, and leaves out an event it cannot read", async () => {
    const real = await someSpool(["d"]);
    let broken = true;
    const spool: Spool = {
      ...real,
      eventsAfter: async (seq, limit) => {
        if (broken) throw new SensorError("SPOOL_BUSY", "locked");
        return real.eventsAfter(seq, limit);
      },
    };
    const { open, carrier } = manual();
    const { log, lines } = recordingLog();
    const wants = ({ state }: SensorEvent) => {
      if (state?.message === "1") throw new Error("unreadable");
      return true;
    };
    const loop = startDelivery({ destination: "d", name: "d", spool, log, carrier, batch: 10, wants });
    await real.putEvents(states(3));
    await until(() => lines.some(({ code }) => code === "SPOOL_BUSY"));
    broken = false;
    await until(() => open.length === 1);
    expect(open[0]?.events.map(({ state }) => state?.message)).toEqual(["0", "2"]);
    await loop.stop();
  });

  const limitsOf = (limits: { maxEvents?: number; maxAge?: number }) => ({
    ...limits,
    event: (message: string) => composeState("events_dropped", message, SENSOR, Date.now()),
  });

  test("gives up the oldest events beyond its limit, and says how many and which", async () => {
    const spool = await someSpool(["d"]);
    const all = states(2000);
    await spool.putEvents(all);
    const { open, carrier } = manual();
    const { log, lines } = recordingLog();
    const wants = ({ state }: SensorEvent) => state?.message !== "0";
    const loop = startDelivery({
      ...{ destination: "d", name: "d", spool, log, carrier, batch: 10, wants },
      limits: limitsOf({ maxEvents: 1000 }),
    });
    await until(() => open.length > 0);
    expect(open[0]?.events[0]?.state?.message).toBe("1100");
    const [told] = await spool.eventsAfter(2000, 1);
    expect(told?.event.state).toEqual({
      name: "events_dropped",
      message: `1099 events for d were given up by its queue limits: from ${all[1]?.id} of ${all[1]?.time} to ${all[1099]?.id} of ${all[1099]?.time}`,
    });
    expect(await spool.cursor("d")).toBe(1100);
    expect(lines).toContainEqual(expect.objectContaining({ level: "error", count: 1099 }));
    await loop.stop();
  });

  test("counts for its limit what the destination wants, not what waits beside it unwanted", async () => {
    const spool = await someSpool(["d"]);
    await spool.putEvents(states(12_000));
    const { open, carrier } = manual();
    const { log } = recordingLog();
    const wants = ({ state }: SensorEvent) => Number(state?.message) % 10 === 0;
    const loop = startDelivery({
      ...{ destination: "d", name: "d", spool, log, carrier, batch: 10, maxOpen: 10, wants },
      limits: limitsOf({ maxEvents: 1200 }),
    });
    await until(() => open.length === 1);
    expect(open[0]?.events[0]?.state?.message).toBe("0");
    // Nine of ten are unwanted, and the first ten that are wanted arrive.
    open.splice(0)[0]?.settle({ delivered: 10, fault: null });
    await until(() => open.length === 1);
    expect(open[0]?.events[0]?.state?.message).toBe("100");
    await spool.putEvents(states(1000, 12_000));
    await Bun.sleep(1200);
    open.splice(0)[0]?.settle({ delivered: 0, fault: down });
    // 1290 of those that are wanted wait: 90 too many, and a tenth of 1200.
    await until(() => open.length === 1);
    expect(open[0]?.events[0]?.state?.message).toBe("2200");
    const [told] = await spool.eventsAfter(13_000, 1);
    expect(told?.event.state?.message).toStartWith("210 events for d were given up by its queue limits");
    expect(await spool.cursor("d")).toBe(2191);
    await loop.stop();
  });

  test("passes an event that waits alone and is refused, once for each type that was taken before", async () => {
    const spool = await someSpool(["d"]);
    const { log, lines } = recordingLog();
    const tries: string[] = [];
    let poison: readonly string[] = ["1", "2"];
    const told: string[] = [];
    const loop = startDelivery({
      ...{ destination: "d", name: "d", spool, log, batch: 10, wants: () => true },
      onRefused: ({ id }, reason) => told.push(`${id} ${reason}`),
      carrier: {
        carry: async (events): Promise<Delivery> => {
          const messages = events.map(({ state }) => state?.message ?? "");
          tries.push(messages.join());
          const at = messages.findIndex((message) => poison.includes(message));
          if (at === -1) return { delivered: events.length, fault: null };
          return { delivered: at, fault: down, ...(at === 0 && { doubt: "400 no" }) };
        },
        close: async () => {},
      },
    });
    const put = async (n: number) => {
      const [event] = states(1, n);
      await spool.putEvents(event === undefined ? [] : [event]);
      return event?.id ?? "";
    };
    await put(0);
    await until(() => tries.length === 1);
    const first = await put(1);
    await until(() => told.length > 0);
    expect(told).toEqual([`${first} 400 no`]);
    expect(tries).toEqual(["0", ...Array<string>(5).fill("1")]);
    expect(await loop.status()).toMatchObject({ state: "up", backlog: 0, delivered: 1, refused: 1 });
    expect(lines).toContainEqual(expect.objectContaining({ code: "SIEM_REFUSED", event_id: first }));
    // None of its type was taken since: the receiver may be set up wrongly.
    await put(2);
    await until(() => tries.filter((one) => one === "2").length === 6);
    expect(await loop.status()).toMatchObject({ state: "down", backlog: 1, refused: 1 });
    poison = [];
    await put(3);
    await until(() => tries.at(-1) === "2,3");
    await until(() => lines.some(({ msg }) => msg === "the destination is up again"));
    expect(await loop.status()).toMatchObject({ state: "up", backlog: 0, delivered: 3, refused: 1 });
    await loop.stop();
  }, 60_000);

  test("gives up what is too old, and nothing that is under way", async () => {
    const spool = await someSpool(["d"]);
    const time = new Date(Date.now() - 60_000).toISOString();
    let maxAge = 3_600_000;
    await spool.putEvents(states(3).map((event) => ({ ...event, time })));
    const { open, carrier } = manual();
    const { log } = recordingLog();
    const loop = startDelivery({
      ...{ destination: "d", name: "d", spool, log, carrier, batch: 2, maxOpen: 2, wants: () => true },
      limits: {
        ...limitsOf({}),
        get maxAge() {
          return maxAge;
        },
      },
    });
    await until(() => open.length === 1);
    maxAge = 59_000;
    await Bun.sleep(2200);
    expect(await spool.lastSeq()).toBe(3);
    open.splice(0)[0]?.settle({ delivered: 2, fault: null });
    await until(() => open.length === 1);
    expect(open[0]?.events[0]?.state?.message).toMatch(/^1 events for d were given up/);
    await loop.stop();
  });

  test("waits longer after each fault, up to half a minute", () => {
    expect([1, 2, 3, 50].map((faults) => pauseAfter(faults, () => 1))).toEqual([200, 400, 800, 30_000]);
    expect(pauseAfter(1, () => 0)).toBe(100);
  });
});
