import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ListKind, ListName } from "../../../gen/emailsensor/v1/sensor.ts";
import { alertSecret, markAlert } from "../../../src/alert/marker.ts";
import { connectControl } from "../../../src/control/client.ts";
import { harness } from "../control/harness.ts";
import { attached, multipart, sha256 } from "../extract/mails.ts";
import { runCommand } from "./run-command.ts";

let folder = "";
let config = "";
let phish = "";
const EXE = "MZ\0\0\0\0\0\0";

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "explain-"));
  phish = file(
    "phish.eml",
    multipart(
      ["From: Boss <boss@evil.example>", "To: fin@example.org", "Cc: other@example.org", "Subject: x"],
      [
        {
          headers: ["Content-Type: text/plain"],
          body: "https://bad.example/\x1b[31mred https://wiki.example.org/ https://a.example/",
        },
        attached("run\u202eexe.js", EXE),
        attached("a.png", "\x89PNG\r\n\x1a\n"),
      ],
    ),
  );
  file("deny.txt", `bad.example # phishing\n`);
  config = file(
    "sensor.yaml",
    `
vmray: { url: https://v.example, api_key: k }
triage:
  own_domains: [example.org, "*.example.org"]
  lists: [{ list: deny, kind: domain, file: deny.txt }]
  rules:
    - name: finance
      match: { recipient: fin@example.org, kind: attachment, extension: [js, exe] }
      action: dynamic
      priority: high
      vmray: { analysis_timeout: 5m, tags: [finance, urgent] }
    - { name: from-outside, match: { direction: inbound, kind: url }, action: lookup }
    - { name: own-mta, match: { client: 10.0.0.0/8 }, action: skip }
`,
  );
});
afterAll(() => rmSync(folder, { recursive: true }));

function file(name: string, content: string | Uint8Array): string {
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
}

const explain = (...args: readonly string[]) => runCommand(["explain", ...args], folder);

const rulesOf = ({ parts }: { parts: { rule: string }[] }) => parts.map(({ rule }) => rule);

describe("explain", () => {
  test("tells for each part the rule and all that would be done, one object a mail", async () => {
    const { rows, out, code } = await explain("--json", "--config", config, phish, phish);
    expect(code).toBe(0);
    expect(out).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202e]/);
    expect(rows()).toHaveLength(2);
    const [{ parts, ...about }] = rows();
    expect(about).toEqual({
      file: phish,
      error: null,
      envelope: {
        from: "boss@evil.example",
        to: ["fin@example.org", "other@example.org"],
        client_ip: "127.0.0.1",
      },
      direction: "inbound",
      sender_list: null,
      run_time_lists: false,
    });
    expect(parts[0]).toEqual({
      kind: "attachment",
      filename: "run\u202eexe.js",
      sha256: sha256(EXE),
      size: EXE.length,
      type: expect.any(String),
      group: expect.any(String),
      path: [],
      facts: expect.arrayContaining(["right_to_left_override"]),
      action: "dynamic",
      rule: "finance",
      reason: 'The rule "finance" matches.',
      priority: "high",
      analyzer: null,
      parameters: { analysis_timeout: 300_000, tags: ["finance", "urgent"] },
      list: null,
    });
    const urls = parts.filter(({ kind }: { kind: string }) => kind === "url");
    expect(
      urls.map(({ normalized, rule, list }: Record<string, string>) => [normalized, rule, list]),
    ).toEqual([
      ["https://bad.example/", "list.deny_domain", "deny"],
      ["https://wiki.example.org/", "default.internal_domain", null],
      ["https://a.example/", "from-outside", null],
    ]);
  });

  test("takes the envelope from its options before the header", async () => {
    const envelope = [
      "--from",
      "<>",
      "--to",
      "<x@out.example>",
      "--to",
      "y@out.example",
      "--client-ip",
      "10.1.1.1",
    ];
    const { rows } = await explain("--json", "--config", config, ...envelope, phish);
    const [row] = rows();
    expect(row.envelope).toEqual({ from: "", to: ["x@out.example", "y@out.example"], client_ip: "10.1.1.1" });
    expect(rulesOf(row).slice(0, 2)).toEqual(["own-mta", "own-mta"]);
  });

  test("has the defaults without a configuration", async () => {
    const { rows } = await explain("--json", phish);
    expect(rows()[0].direction).toBeNull();
    expect(rulesOf(rows()[0])).toContain("default.urls");
    expect(rulesOf(rows()[0])).not.toContain("finance");
  });

  test("shows people a table without control characters, with what is meant", async () => {
    const { out, code } = await explain("--config", config, phish);
    expect(code).toBe(0);
    expect(out).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202e]/);
    expect(out).toContain(
      "from boss@evil.example to fin@example.org, other@example.org, client 127.0.0.1, inbound",
    );
    expect(out).toMatch(
      /run\\u\{202e\}exe\.js, 8B +\S+ +dynamic +finance +high priority; analysis_timeout 5m; tags finance\+urgent/,
    );
    expect(out).toContain('The rule "finance" matches. VMRay detonates it where it does not know it.');
    expect(out).toContain(
      "It is on the deny list (domain bad.example): phishing; it is malicious, and nobody is asked.",
    );
  });

  test("names a listed sender", async () => {
    file("senders.txt", "evil.example\n");
    const listed = file(
      "listed.yaml",
      "vmray: { url: v.example, api_key: k }\ntriage: { lists: [{ list: deny, kind: sender, file: senders.txt }] }\n",
    );
    const { out } = await explain("--config", listed, phish);
    expect(out).toContain(
      "the sender boss@evil.example is on the deny list (sender evil.example); the mail is malicious",
    );
    const { rows } = await explain("--json", "--config", listed, phish);
    expect(rows()[0].sender_list).toMatchObject({ list: "deny", address: "boss@evil.example" });
  });

  test("goes on after a file it cannot read, and exits 1", async () => {
    const { rows, code } = await explain("--json", "missing.eml", phish);
    expect(code).toBe(1);
    expect(rows()[0]).toMatchObject({ error: "does not exist", envelope: null, parts: [] });
    expect(rows()[1].error).toBeNull();
  });

  test("refuses bad usage and bad configurations with 2", async () => {
    for (const args of [[], ["--client-ip", "host", phish], ["--what", phish]]) {
      const { code, errors } = await explain(...args);
      expect([code, errors]).toEqual([2, expect.stringContaining("see --help")]);
    }
    const bad = file("bad.yaml", "triage: { rules: [{ name: x }] }\n");
    const { code, errors } = await explain("--config", bad, phish);
    expect(code).toBe(2);
    expect(errors).toContain("bad.yaml:1:19: triage.rules[0]: does nothing");
  });
});

test("bug: an alert of the sensor itself was explained like any other mail", async () => {
  const spool = mkdtempSync(join(folder, "spool-"));
  const own = file(
    "own.yaml",
    `vmray: { url: https://v.example, api_key: k }\nspool: { path: ${JSON.stringify(spool)} }\n`,
  );
  const alert = [
    "From: sensor@example.org",
    "To: fin@example.org",
    "Subject: Malicious mail",
    "",
    "See https://console.example.org/",
    "",
  ].join("\r\n");
  const marked = file("alert.eml", markAlert(Buffer.from(alert), alertSecret(spool), Date.now()));
  const { rows } = await explain("--json", "--config", own, marked);
  expect(rows()[0].parts).toEqual([]);
  expect((await explain("--config", own, marked)).out).toContain("an alert of this sensor");
  // Somewhere else it is a mail like any other.
  expect(rulesOf((await explain("--json", "--config", config, marked)).rows()[0])).toHaveLength(1);
});

test("explain counts what was added to the running sensor that its configuration names, else says that it does not", async () => {
  const { errors } = await explain("--config", config, phish);
  expect(errors).toContain("entries added to a running sensor do not count: cannot reach the sensor");
  expect((await explain(phish)).errors).toContain("no --config names a sensor");
  const sensor = await harness();
  try {
    const client = connectControl(sensor.control.address, null);
    const entry = {
      list: ListName.DENY,
      kind: ListKind.DOMAIN,
      value: "a.example",
      comment: "phishing",
      addedAt: undefined,
      expiresAt: undefined,
    };
    await client.addListEntries({ entries: [entry] });
    client.close();
    const running = file(
      "running.yaml",
      `vmray: { url: https://v.example, api_key: k }\ncontrol: { listen: "${sensor.control.address}" }\n`,
    );
    const { rows, errors: none } = await explain("--json", "--config", running, phish);
    expect(none).toBe("");
    expect(rows()[0].run_time_lists).toBe(true);
    expect(rows()[0].parts).toContainEqual(
      expect.objectContaining({
        url: "https://a.example/",
        rule: "list.deny_domain",
        reason: "on the deny list (domain a.example, added at run time): phishing",
      }),
    );
  } finally {
    await sensor.end();
  }
});
