import { afterAll, beforeAll, describe, expect, spyOn, test } from "bun:test";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Command } from "../../../src/commands/command.ts";
import { command as lists } from "../../../src/commands/lists.ts";
import { command as mail } from "../../../src/commands/mail.ts";
import { command as mails } from "../../../src/commands/mails.ts";
import { command as replay } from "../../../src/commands/replay.ts";
import { command as status } from "../../../src/commands/status.ts";
import { command as watch } from "../../../src/commands/watch.ts";
import { asSensorError } from "../../../src/errors.ts";
import { contentKey } from "../../../src/triage/plan.ts";
import { until } from "../../until.ts";
import { type Harness, harness, verdictEvent } from "../control/harness.ts";
import { attachment, extractionOf, MINING, someEvent, someMail } from "../spool/fixtures.ts";

const COST = {
  calls: 9,
  submissions: 1,
  quota: 2,
  seconds: 61.25,
  reports: 2,
  verdicts: 0,
  waited_seconds: 0.3,
  queued_seconds: 4,
  analysis_seconds: 55.1,
};

const HOSTILE = "Invoice \u202Efdp.exe \x1b[31m\x07\r\nX";
const TOKEN = "0123456789abcdef0123456789abcdef";

let sensor: Harness;
let done: string;
const waiting: string[] = [];

beforeAll(async () => {
  sensor = await harness();
  const mail = someMail("one", {
    envelope: {
      from: "",
      to: ["b@example.org", "c@example.org"],
      client_ip: "192.0.2.1",
      helo: "mx",
      tls: null,
    },
  });
  done = mail.id;
  const part = attachment("evil");
  if (part.kind !== "attachment") throw new Error("no attachment");
  const known = {
    facts: ["macros"],
    password: `open\x1b[31m sesame`,
    path: ["docs.zip"],
    within: "archive",
  } as const;
  const parts = [{ ...part, attachment: { ...part.attachment, ...known } }];
  await sensor.spool.addDestinations(["siem"]);
  await sensor.spool.putMail(mail);
  await sensor.spool.claimMails(1);
  const envelope = {
    source: "copy",
    from: null,
    to: ["b@example.org", "c@example.org"],
    identity: null,
  } as const;
  const extraction = { ...extractionOf(parts, HOSTILE), envelope, flags: ["bare_lf"] };
  await sensor.spool.recordExtraction(done, extraction, parts);
  for (const part of parts) {
    await sensor.spool.finishAnalysis(
      contentKey(part),
      {
        outcome: "judged",
        verdict: "malicious",
        reason: "it runs a miner",
        threat_names: ["Miner"],
        vmray: { sample_id: 5, submission_id: 6, url: "https://vmray.example/samples/5" },
        evidence: {
          ...MINING,
          indicators: [{ category: "Heuristics", operation: "Mines\u202e coins", score: 4 }],
        },
        cost: COST,
        analyzer: "cloud",
      },
      null,
    );
  }
  await sensor.spool.finishMail(
    done,
    "malicious",
    true,
    ["evil.exe is malicious"],
    [verdictEvent("malicious"), someEvent("sensor.state")],
  );
  for (let index = 0; index < 3; index += 1) {
    const next = someMail();
    await sensor.spool.putMail(next);
    waiting.unshift(next.id);
  }
});
afterAll(() => sensor.end());

type Outcome = { readonly code: number; readonly out: string; readonly err: string };

function spawn(...args: readonly string[]) {
  return Bun.spawn([process.execPath, "src/main.ts", ...args], {
    cwd: join(import.meta.dir, "../../.."),
    env: { ...process.env, EMAIL_SENSOR_ADDRESS: sensor.control.address },
    stdout: "pipe",
    stderr: "pipe",
  });
}

const COMMANDS: Readonly<Record<string, Command>> = { status, mails, mail, replay, watch, lists };

/** Runs a command in this process, which takes a fraction of the time; errors get the exit code main.ts gives. */
async function command(name: string, ...args: readonly string[]): Promise<Outcome> {
  let out = "";
  let err = "";
  const stdout = spyOn(process.stdout, "write").mockImplementation((text) => {
    out += text;
    return true;
  });
  const stderr = spyOn(process.stderr, "write").mockImplementation((text) => {
    err += text;
    return true;
  });
  process.env.EMAIL_SENSOR_ADDRESS = sensor.control.address;
  try {
    const code = (await COMMANDS[name]?.run(args)) ?? -1;
    return { code, out, err };
  } catch (thrown) {
    const error = asSensorError(thrown);
    const code = error.code === "USAGE" ? 2 : error.code === "CONTROL_UNREACHABLE" ? 3 : 1;
    return { code, out, err: error.message };
  } finally {
    delete process.env.EMAIL_SENSOR_ADDRESS;
    stdout.mockRestore();
    stderr.mockRestore();
  }
}

function parsedLines(out: string): readonly Record<string, unknown>[] {
  return out
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line));
}

/** Control and bidirectional characters but the newline between lines. */
const DANGEROUS = /[\x00-\x09\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]/;

describe("status", () => {
  test("shows counts and destinations, and the same as JSON", async () => {
    const { code, out } = await command("status");
    expect(code).toBe(0);
    expect(out).toContain("sensor-1, version 1.2.3");
    expect(out).toMatch(/mails +3 received {2}0 analysing {2}0 analysed {2}1 done/);
    expect(out).toMatch(/siem +up +2 /);
    expect(out).toMatch(/calls +look-ups made, submissions paused \(unreachable\), next in /);
    expect(out).toMatch(/waiting +1 lookups {2}0 urls {2}2 files {2}7 vmray {2}0 verdicts/);
    expect(out).toMatch(
      /budget +412 of 500 analyses today, 50 of them for high priority; new in \S+; then reputation/,
    );
    expect(out).toMatch(
      /quota +API key 412 of any number used; reports 412 of 1000 used; verdicts 0 of 0 used; period: monthly/,
    );
    expect(out).toMatch(/last fault +\S+ ago: VMRAY_UNREACHABLE: VMRay closed/);
    expect(out).not.toMatch(DANGEROUS);
    const [json] = parsedLines((await command("status", "--json")).out);
    expect(json).toMatchObject({
      sensor: { id: "sensor-1", version: "1.2.3" },
      mails: { received: 3, analysing: 0, analysed: 0, done: 1, failed: 0 },
      verdicts: { malicious: 1, suspicious: 0, clean: 0, not_available: 0 },
      analyses: { queued: 0, submitted: 0 },
      analyzer: {
        running: 2,
        open: 5,
        paused_reason: null,
        lookups: { state: "open", reason: null, retry_at: null },
        submissions: { state: "shut", reason: "unreachable", retry_at: "2026-11-24T09:00:00.000Z" },
        last_error: "VMRAY_UNREACHABLE: VMRay closed\u202e it",
        last_error_at: "2026-11-24T08:00:00.000Z",
        waiting: { lookups: 1, urls: 0, files: 2, vmray: 7, verdicts: 0 },
        budget: {
          per_day: 500,
          used: 412,
          reserve: 50,
          used_up: false,
          renews_at: "2026-11-25T00:00:00.000Z",
          when_used_up: "reputation",
          quota_retry_at: null,
        },
        quota: { key: { limit: 0, used: 412 }, verdict: { limit: 0, used: 0 }, period: "monthly" },
      },
      destinations: [{ name: "siem", state: "up", backlog: 2, delivered: 7, refused: 3, last_error: null }],
    });
  });
});

describe("replay", () => {
  test("says how many events go out once more, and what was wrong with the call", async () => {
    expect(await command("replay", "--to", "siem", "--since", "1h", "--until", "2020-01-02")).toMatchObject({
      code: 2,
      err: "until: is not after since; give a later time or leave it out",
    });
    expect((await command("replay", "--to", "none", "--since", "1h")).code).toBe(1);
    expect(await command("replay", "--to", "siem")).toMatchObject({ code: 2 });
    expect(await command("replay", "--since", "1h")).toMatchObject({ code: 2 });
    const { code, out } = await command("replay", "--to", "siem", "--since", "1h", "--json");
    expect({ code, json: parsedLines(out) }).toEqual({ code: 0, json: [{ destination: "siem", events: 2 }] });
    const again = await command("replay", "--to", "siem", "--since", "1h");
    expect(again).toMatchObject({
      code: 1,
      err: "an earlier replay to siem goes on; try again when it has ended",
    });
    await sensor.spool.advanceReplay("siem", await sensor.spool.lastSeq());
    expect((await command("replay", "--to", "siem", "--since", "1h")).out).toBe(
      "2 events of that time go to siem once more, as far as it wants them\n",
    );
  });
});

describe("mails", () => {
  test("lists newest first, filters, and takes no more than was asked for", async () => {
    const ids = async (...args: string[]) =>
      parsedLines((await command("mails", "--json", ...args)).out).map((mail) => mail.id);
    expect(await ids()).toEqual([...waiting, done]);
    expect(await ids("--limit", "2")).toEqual(waiting.slice(0, 2));
    expect(await ids("--verdict", "malicious,suspicious")).toEqual([done]);
    expect(await ids("--state", "received", "--state", "failed", "--since", "1h")).toEqual(waiting);
    expect(await ids("--text", "FDP.exe")).toEqual([done]);
  });

  test("shows a table free of control characters, within 120 columns where there is no terminal", async () => {
    const { code, out, err } = await command("mails", "--limit", "4");
    expect({ code, err }).toEqual({ code: 0, err: "" });
    expect(out).not.toMatch(DANGEROUS);
    const lines = out.trimEnd().split("\n");
    expect(lines.length).toBe(6);
    for (const line of lines) expect(Bun.stringWidth(line)).toBeLessThanOrEqual(120);
    expect(lines[5]).toContain("<>");
  });

  test("says on stderr that no mail matches, and that is no failure", async () => {
    expect(await command("mails", "--text", "no such thing")).toEqual({
      code: 0,
      out: "",
      err: "no mail matches\n",
    });
  });
});

describe("mail", () => {
  test("shows the whole way of a mail", async () => {
    const { code, out } = await command("mail", done);
    expect(code).toBe(0);
    expect(out).not.toMatch(DANGEROUS);
    for (const text of [
      "evil.exe is malicious",
      "192.0.2.1 (mx), no TLS",
      "c@example.org",
      "bare_lf",
      "dynamic by test: the test says so",
      "malicious: it runs a miner",
      "https://vmray.example/samples/5",
      "classes     Miner",
      "indicators  4/5 Heuristics: Mines",
      "techniques  T1496 Resource Hijacking (Impact)",
      "IOCs        pool.example",
      "cost        9 calls, 1 submissions, 2 of the quota (2 reports), 61.3 s (waited 0.3 s, queued 4 s, analysis 55.1 s)",
      "analyzer    cloud",
      "envelope (recipients as the copy tells them)",
      "attachment docs.zip > evil.exe",
      "facts       macros",
      "password    open",
      `sha1        ${"0".repeat(40)}`,
    ]) {
      expect(out).toContain(text);
    }
  });

  test("gives the same as JSON, with the names of the event", async () => {
    const { out } = await command("mail", done, "--json");
    expect(out.trimEnd()).not.toMatch(DANGEROUS);
    const [json] = parsedLines(out);
    expect(json).toMatchObject({
      mail: { id: done, subject: HOSTILE, envelope: { from: "", client_ip: "192.0.2.1", tls: null } },
      envelope_source: "copy",
      same_as: null,
      state: "done",
      verdict: "malicious",
      attachments: [
        {
          filename: "evil.exe",
          within: "archive",
          path: ["docs.zip"],
          facts: ["macros"],
          decision: { action: "dynamic", rule: "test", reason: "the test says so" },
          outcome: "judged",
          verdict: "malicious",
          vmray: { sample_id: 5, submission_id: 6, url: "https://vmray.example/samples/5" },
          ...MINING,
          cost: COST,
          analyzer: "cloud",
        },
      ],
      flags: ["bare_lf"],
    });
  });

  test("ends 1 for a mail that is not there", async () => {
    const { code, err } = await command("mail", Bun.randomUUIDv7());
    expect(code).toBe(1);
    expect(err).toContain("no mail");
  });
});

describe("watch", () => {
  test("prints the events that match, and ends 0 when interrupted", async () => {
    const child = spawn("watch", "--json", "--after", "0", "--type", "mail.verdict");
    const lines: string[] = [];
    const reader = child.stdout.getReader();
    const decoder = new TextDecoder();
    const read = async () =>
      lines.push(
        ...decoder
          .decode((await reader.read()).value)
          .trimEnd()
          .split("\n"),
      );
    await read();
    await sensor.spool.putEvents([verdictEvent("clean")]);
    await read();
    child.kill("SIGINT");
    expect(await child.exited).toBe(0);
    expect(lines.map((line) => JSON.parse(line).verdict)).toEqual(["malicious", "clean"]);
  });

  test("ends 3 when the sensor stops", async () => {
    let looked = 0;
    const stopping = await harness({
      listen: "127.0.0.1:0",
      wrap: (spool) => ({
        ...spool,
        eventsAfter(seq, limit) {
          looked += 1;
          return spool.eventsAfter(seq, limit);
        },
      }),
    });
    try {
      await stopping.spool.putEvents([verdictEvent("clean")]);
      const watching = command("watch", "--after", "0", "--address", stopping.control.address);
      await until(() => looked === 2, "the first event sent");
      await stopping.control.stop();
      const { code, out, err } = await watching;
      expect(code).toBe(3);
      expect(out).toContain("clean");
      expect(err).toContain("the sensor stops");
    } finally {
      await stopping.end();
    }
  });
});

describe("all of them", () => {
  test("show the token of a file, and say how where it is missing", async () => {
    const file = join(sensor.folder, "token");
    await writeFile(file, `${TOKEN}\n`);
    const closed = await harness({ tokenFile: file });
    try {
      expect((await command("status", "--token-file", file, "--address", closed.control.address)).code).toBe(
        0,
      );
      const refused = await command("status", "--address", closed.control.address);
      expect(refused.code).toBe(1);
      expect(refused.err).toContain("--token-file");
    } finally {
      await closed.end();
    }
  });

  test("end 3 with a next step where no sensor answers", async () => {
    for (const args of [["status"], ["mails"], ["mail", done], ["watch"]]) {
      const [name = "", ...rest] = args;
      const { code, err } = await command(name, ...rest, "--address", "unix:/nonexistent/control.sock");
      expect(code).toBe(3);
      expect(err).toContain("systemctl start email-sensor");
      expect(err).toContain("--address");
    }
  });

  test("end 2 for bad usage and say what is good", async () => {
    const cases: readonly [string[], string][] = [
      [["status", "--nonsense"], "--nonsense"],
      [["status", "extra"], '"extra"'],
      [["mail"], "which mail?"],
      [["mail", "x'y"], "not the id of a mail"],
      [["mails", "--state", "lost"], "received, analysing"],
      [["mails", "--since", "yesterday"], "30m, 2h, 7d"],
      [["mails", "--limit", "0"], "1 to 1000000"],
      [["watch", "--min-verdict", "bad"], "clean, not_available"],
      [["watch", "--after", "99999"], "the newest event is"],
      [["status", "--address", "nowhere"], "unix:/PATH or HOST:PORT"],
    ];
    for (const [[name = "", ...args], text] of cases) {
      const { code, err } = await command(name, ...args);
      expect([args, code]).toEqual([args, 2]);
      expect(err).toContain(text);
    }
  });

  test("are known to the program, which gives these exit codes", async () => {
    const unreachable = spawn("status", "--address", "unix:/nonexistent/control.sock");
    const misused = spawn("mails", "--nonsense");
    const shown = spawn("status", "--json");
    expect(await Promise.all([unreachable.exited, misused.exited, shown.exited])).toEqual([3, 2, 0]);
    expect(await spawn("help", "status").stdout.text()).toStartWith("use: email-sensor status");
    expect(parsedLines(await shown.stdout.text())[0]).toMatchObject({ sensor: { id: "sensor-1" } });
  });
});

describe("lists", () => {
  test("adds, shows and removes, for people and as JSON", async () => {
    const deny = ["--list", "deny", "--kind", "domain"];
    expect(
      await command("lists", "add", ...deny, "--comment", "seen \u202Etoday", "Evil.example", "b.example"),
    ).toEqual({
      code: 0,
      out: "2 added, 0 changed, 0 there already\n",
      err: "",
    });
    const json = await command(
      "lists",
      "add",
      ...deny,
      "--json",
      "--expires",
      "7d",
      "evil.example",
      "c.example",
    );
    expect(parsedLines(json.out)).toEqual([{ added: 1, changed: 1, unchanged: 0 }]);
    const table = await command("lists", "show", "--list", "deny");
    expect(table.out).toMatch(/^deny +domain +b\.example +\d\d:\d\d:\d\d +never +seen \\u\{202e\}today$/m);
    expect(table.out).toMatch(/^deny +domain +evil\.example +\S+ +\d{4}-/m);
    expect(table.out).not.toMatch(DANGEROUS);
    expect(parsedLines((await command("lists", "--json", "--text", "b.ex")).out)).toEqual([
      {
        list: "deny",
        kind: "domain",
        value: "b.example",
        comment: "seen \u202Etoday",
        added_at: expect.stringMatching(/Z$/),
        expires_at: null,
      },
    ]);
    expect((await command("lists", "show", "--limit", "1")).err).toContain("there are more");
    const removed = await command(
      "lists",
      "remove",
      ...deny,
      "evil.example",
      "b.example",
      "c.example",
      "d.example",
    );
    expect(removed.out).toBe("3 removed, 1 not there\n");
    expect((await command("lists")).err).toContain("no entry");
  });

  test("reads values of stdin as list files have them, in several calls", async () => {
    const lines = Array.from({ length: 1201 }, (_, n) => `n${n}.example # number ${n}`).join("\n");
    const child = Bun.spawn(
      [process.execPath, "src/main.ts", "lists", "add", "--list", "allow", "--kind", "domain", "-"],
      {
        cwd: join(import.meta.dir, "../../.."),
        env: { ...process.env, EMAIL_SENSOR_ADDRESS: sensor.control.address },
        stdin: Buffer.from(lines),
        stdout: "pipe",
      },
    );
    expect(await new Response(child.stdout).text()).toBe("1201 added, 0 changed, 0 there already\n");
    const { out } = await command("lists", "show", "--json", "--limit", "2000");
    expect(parsedLines(out)).toHaveLength(1201);
    expect(parsedLines(out)[0]).toMatchObject({ value: "n1200.example", comment: "number 1200" });
  });

  test.each<[readonly string[], string]>([
    [["rubbish"], 'does not understand "rubbish": give show, add or remove'],
    [["add", "--kind", "domain", "a.example"], "on which list? give --list allow or deny"],
    [["add", "--list", "deny", "a.example"], "of which kind? give --kind hash, domain, url, sender"],
    [["add", "--list", "black", "--kind", "url", "x"], '--list: "black" is not known; give allow, deny'],
    [["add", "--list", "deny", "--kind", "domain"], "which values? give at least one VALUE, or - for stdin"],
    [
      ["add", "--list", "deny", "--kind", "domain", "a.example", "a b"],
      'nothing was done: "a b" is no domain name',
    ],
    [
      ["add", "--list", "deny", "--kind", "domain", "--expires", "soon", "a.example"],
      '--expires: "soon" is no time',
    ],
    [["add", "--list", "deny", "--kind", "domain", "--expires", "2020-01-01", "a.example"], "is in the past"],
    [["remove", "--list", "deny", "--kind", "domain", "--comment", "x", "a"], "--comment is not for remove"],
    [["show", "a.example"], 'does not understand "a.example"; --text looks for a value'],
  ])("says of %j what is wrong and what to do", async (args, text) => {
    const { code, err } = await command("lists", ...args);
    expect(code).toBe(2);
    expect(err).toContain(text);
  });
});
