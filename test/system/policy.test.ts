/**
 * The policy on the compiled binary: what each condition and each key of a rule changes of the calls that VMRay gets,
 * seen by a proxy in front of the simulator; and that `explain` says the same before.
 */
import { Database } from "bun:sqlite";
import { afterEach, beforeEach, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import type { PlannedArtifact } from "../../src/triage/plan.ts";
import { type Analyzer, binaryPath, launchSensor, startAnalyzer, type TestSensor } from "./lib/binary.ts";
import { openPlace, type Place, runToEnd, waitFor } from "./lib/place.ts";
import { sendMails, type TestMail } from "./lib/smtp.ts";

let place: Place;
beforeEach(() => {
  place = openPlace("policy");
});
afterEach(() => place.close());

// ---- what VMRay gets

type Call = {
  readonly method: string;
  readonly path: string;
  /** Of a submission; `sample_file` is the SHA-256 of the file. */
  readonly form: Readonly<Record<string, string>>;
};

type Recorded = Pick<Analyzer, "url" | "apiKey"> & { readonly calls: readonly Call[] };

/** A proxy that writes down what it passes on. */
function recorded(analyzer: Analyzer): Recorded {
  const calls: Call[] = [];
  const server = Bun.serve({
    port: 0,
    hostname: "127.0.0.1",
    idleTimeout: 60,
    async fetch(request) {
      const { pathname, search } = new URL(request.url);
      const body = request.method === "POST" ? await request.bytes() : undefined;
      const form: Record<string, string> = {};
      if (body !== undefined) {
        const headers = { "content-type": request.headers.get("content-type") ?? "" };
        for (const [name, value] of await new Response(body.slice(), { headers }).formData()) {
          form[name] = typeof value === "string" ? value : sha256(await value.bytes());
        }
      }
      calls.push({ method: request.method, path: pathname, form });
      const { method, headers } = request;
      return fetch(`${analyzer.url}${pathname}${search}`, { method, headers, ...(body && { body }) });
    },
  });
  place.onClose(() => server.stop(true));
  return { url: `http://127.0.0.1:${server.port}`, apiKey: analyzer.apiKey, calls };
}

const sha256 = (bytes: string | Uint8Array) => new Bun.CryptoHasher("sha256").update(bytes).digest("hex");

// ---- mails

type Written = {
  readonly key: string;
  readonly from?: string;
  readonly to: readonly string[];
  readonly file?: { readonly name: string; readonly bytes: string | Uint8Array };
  readonly html?: string;
  readonly text?: string;
};

function mail({ key, from = "a@sender.example", to, file, html, text = "Hello" }: Written): TestMail {
  const part = (lines: readonly string[], body: string | Uint8Array) => [
    "--mark",
    ...lines,
    "Content-Transfer-Encoding: base64",
    "",
    Buffer.from(body).toString("base64"),
  ];
  const content = [
    ...(from === "" ? [] : [`From: ${from}`]),
    `To: ${to.join(", ")}`,
    `Subject: ${key}`,
    `Message-ID: <${key}@sender.example>`,
    "MIME-Version: 1.0",
    'Content-Type: multipart/mixed; boundary="mark"',
    "",
    ...part([`Content-Type: text/${html === undefined ? "plain" : "html"}; charset=utf-8`], html ?? text),
    ...(file === undefined
      ? []
      : part(
          [
            "Content-Type: application/octet-stream",
            `Content-Disposition: attachment; filename="${file.name}"`,
          ],
          file.bytes,
        )),
    "--mark--",
    "",
  ].join("\r\n");
  return { key, from, to, content };
}

const script = (key: string) => ({ name: `${key}.js`, bytes: `WScript.Echo("${key}");` });
const link = (key: string, host = `${key}.example`) => ({ text: `See https://${host}/${key} for it.` });

/** The parts of a mail as they are in the spool, once all are decided. */
function planOf(sensor: TestSensor, subject: string): Promise<readonly PlannedArtifact[]> {
  return waitFor(
    `the verdict on ${subject}`,
    () => {
      const db = new Database(join(sensor.spoolPath, "spool.db"), { readonly: true });
      try {
        const done = db
          .query<{ seq: number }, [string]>(
            "SELECT seq FROM mails WHERE state = 'done' AND json_extract(extraction, '$.mail.subject') = ?",
          )
          .get(subject);
        if (done === null) return undefined;
        return db
          .query<{ artifact: string }, [number]>("SELECT artifact FROM artifacts WHERE mail = ? ORDER BY n")
          .all(done.seq)
          .map(({ artifact }) => JSON.parse(artifact) as PlannedArtifact);
      } finally {
        db.close();
      }
    },
    120,
  );
}

/** What the spool and what explain say of the parts of a mail, in one form. */
function shown(part: PlannedArtifact): object {
  const {
    action,
    rule,
    reason,
    priority = "normal",
    analyzer = null,
    parameters = {},
    list = null,
  } = part.decision;
  const of = part.kind === "url" ? part.url.normalized : part.attachment.sha256;
  return { of, action, rule, reason, priority, analyzer, parameters, list };
}

/** What explain says of the parts of each mail, in the form of `shown`; the envelope is that of the header. */
async function explained(
  sensor: TestSensor,
  mails: readonly TestMail[],
): Promise<readonly (readonly object[])[]> {
  const files = mails.map(({ key, content }) => {
    const file = join(place.path, `${key}.eml`);
    writeFileSync(file, content);
    return file;
  });
  const command = [binaryPath(), "explain", "--json", "--config", sensor.configPath, ...files];
  const { code, stdout, stderr } = await runToEnd(command);
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  const lines = stdout.trimEnd().split("\n");
  return lines.map((line) =>
    (JSON.parse(line) as { parts: Record<string, unknown>[] }).parts.map(
      ({ kind, normalized, sha256: hash, action, rule, reason, priority, analyzer, parameters, list }) => ({
        of: kind === "url" ? normalized : hash,
        ...{ action, rule, reason, priority, analyzer, parameters, list },
      }),
    ),
  );
}

// ---- conditions

type Condition = {
  readonly match: object;
  /** Mails that the rule is for, and mails that it is not for; their recipient is added. */
  readonly hits: readonly Omit<Written, "key" | "to">[];
  readonly misses: readonly Omit<Written, "key" | "to">[];
};

const PDF = "%PDF-1.4\n1 0 obj\n<< /Type /Catalog >>\nendobj\ntrailer\n<< /Root 1 0 R >>\n%%EOF\n";

const CONDITIONS: Readonly<Record<string, Condition>> = {
  kind: { match: { kind: "url" }, hits: [link("kind-1")], misses: [{ file: script("kind-2") }] },
  type: {
    match: { type: "application/pd*" },
    hits: [{ file: { name: "type.txt", bytes: `${PDF}type` } }],
    misses: [{ file: script("type-2") }],
  },
  group: {
    match: { group: ["documents"] },
    hits: [{ file: { name: "group.bin", bytes: `${PDF}group` } }],
    misses: [{ file: script("group-2") }],
  },
  extension: {
    match: { extension: "JSE" },
    hits: [{ file: { ...script("extension-1"), name: "a.Jse. " } }],
    misses: [{ file: { ...script("extension-2"), name: "jse.js" } }],
  },
  min_size: {
    match: { kind: "attachment", min_size: "2KB" },
    hits: [{ file: { name: "large.js", bytes: `//${"x".repeat(4096)}` } }],
    misses: [{ file: script("min-size-2") }],
  },
  max_size: {
    match: { max_size: "100B" },
    hits: [{ file: script("max-size-1") }],
    misses: [{ file: { name: "larger.js", bytes: `//${"y".repeat(4096)}` } }],
  },
  facts: {
    match: { facts: "double_extension" },
    hits: [{ file: { ...script("facts-1"), name: "invoice.pdf.js" } }],
    misses: [{ file: script("facts-2") }],
  },
  flags: {
    match: { flags: ["url_disguised"] },
    hits: [{ ...link("flags-1", "bank.com@flags-1.example"), file: script("flags-1") }],
    misses: [{ ...link("flags-2"), file: script("flags-2") }],
  },
  sources: {
    match: { sources: ["html*"] },
    hits: [{ html: '<a href="https://sources-1.example/">here</a>' }],
    misses: [link("sources-2")],
  },
  host: {
    match: { host: ["*.h\u00f6st.example", "192.0.2.7"] },
    hits: [
      link("host-1", "a.b.H%C3%B6st.example."),
      link("host-2", "u@0xc0000207"),
      link("host-3", "[::ffff:192.0.2.7]"),
    ],
    misses: [
      link("host-4", "h\u00f6st.example"),
      link("host-5", "xh\u00f6st.example"),
      link("host-6", "192.0.2.70"),
    ],
  },
  sender: {
    match: { sender: ["bounce-*@*.sender.example", "<>"] },
    hits: [
      { from: "Bounce-1@news.SENDER.example", file: script("sender-1") },
      { from: "", file: script("sender-2") },
    ],
    misses: [
      { from: "bounce-1@sender.example", file: script("sender-3") },
      { from: "unbounce-1@news.sender.example", file: script("sender-4") },
    ],
  },
  sender_domain: {
    match: { sender_domain: "partner.example" },
    hits: [{ from: "x@Partner.Example", file: script("sender-domain-1") }],
    misses: [
      { from: "x@sub.partner.example", file: script("sender-domain-2") },
      { from: "partner.example@evil.example", file: script("sender-domain-3") },
    ],
  },
  direction: {
    match: { direction: "outbound" },
    hits: [{ from: "me@own.example", file: script("direction-1") }],
    misses: [{ file: script("direction-2") }],
  },
  client: {
    match: { client: "127.0.0.0/8" },
    hits: [{ file: script("client-1") }],
    misses: [],
  },
  other_client: {
    match: { client: ["10.0.0.0/8", "2001:db8::/32"] },
    hits: [],
    misses: [{ file: script("client-2") }],
  },
};

test("each condition of a rule decides which parts VMRay gets by it, as explain said before", async () => {
  const vmray = recorded(await startAnalyzer(place, { queued: "0ms", work: "0ms" }));
  // Its recipient alone ties a mail to the rule whose condition it is about.
  const rules = Object.entries(CONDITIONS).map(([name, { match }]) => ({
    name,
    match: { ...match, recipient: `${name}+*@*.rcpt.example` },
    vmray: { tags: [`by-${name}`] },
  }));
  const recipients = [
    { name: "recipient", match: { recipient: "boss@corp.example" }, vmray: { tags: ["by-recipient"] } },
    {
      name: "recipient_domain",
      match: { recipient_domain: "*.corp.example" },
      vmray: { tags: ["by-recipient_domain"] },
    },
  ];
  const sensor = await launchSensor(place, {
    analyzer: vmray,
    config: {
      vmray: { tags: [] },
      triage: { own_domains: ["own.example"], rules: [...rules, ...recipients] },
    },
  });
  const cases = [
    ...Object.entries(CONDITIONS).flatMap(([name, { hits, misses }]) => {
      const to = [`${name}+x@a.rcpt.example`];
      return [
        ...hits.map((one) => ({ one, to, rule: name })),
        ...misses.map((one) => ({ one, to, rule: null })),
      ];
    }),
    { one: { file: script("to-1") }, to: ["x@y.example", "BOSS@corp.example"], rule: "recipient" },
    { one: { file: script("to-2") }, to: ["boss+x@corp.example", "b@corp.example"], rule: null },
    { one: { file: script("to-3") }, to: ["x@y.example", "b@a.CORP.example"], rule: "recipient_domain" },
  ].map(({ one, to, rule }, n) => ({ written: mail({ ...one, key: `c${n}`, to }), parts: one, rule }));
  const said = await explained(
    sensor,
    cases.map(({ written }) => written),
  );
  expect(vmray.calls.filter(({ path }) => path.includes("sample"))).toEqual([]);
  expect(
    (
      await sendMails(
        sensor.smtpPort,
        cases.map(({ written }) => written),
      )
    ).refused,
  ).toEqual([]);

  for (const [n, { written, parts, rule }] of cases.entries()) {
    const plan = (await planOf(sensor, written.key)).map(shown);
    expect(plan).toEqual([...(said[n] ?? [])]);
    const tagged = vmray.calls.filter(({ form }) => {
      const of = form.sample_url ?? form.sample_file;
      return of !== undefined && plan.some((part) => Reflect.get(part, "of") === of);
    });
    expect(tagged.length).toBeGreaterThan(0);
    const tags = new Set(tagged.map(({ form }) => form.tags ?? null));
    expect({ parts, tags: [...tags] }).toEqual({ parts, tags: [rule === null ? null : `by-${rule}`] });
  }
}, 240_000);

// ---- what a rule says

/** What a rule says, and what of it stands in the form of the submission; null where there must be none. */
const SAID: readonly (readonly [
  string,
  "file" | "url",
  object,
  Readonly<Record<string, string | undefined>> | null,
])[] = [
  ["skip", "file", { action: "skip" }, null],
  ["lookup", "file", { action: "lookup" }, null],
  [
    "reputation",
    "file",
    { action: "reputation" },
    { analyzer_mode: "reputation", enable_reputation: "True", max_jobs: undefined },
  ],
  ["static", "file", { action: "static" }, { analyzer_mode: "reputation_static", max_jobs: undefined }],
  [
    "static-mode",
    "file",
    { action: "static", vmray: { analyzer_mode: "static" } },
    { analyzer_mode: "static" },
  ],
  [
    "dynamic",
    "file",
    { action: "dynamic" },
    { analyzer_mode: undefined, max_jobs: "3", tags: "all", shareable: "True" },
  ],
  [
    "dynamic-mode",
    "file",
    { action: "dynamic", vmray: { analyzer_mode: "static_dynamic" } },
    { analyzer_mode: "static_dynamic" },
  ],
  ["timeout", "file", { vmray: { analysis_timeout: "5m" } }, { user_config: '{"timeout":300}' }],
  ["tags", "file", { vmray: { tags: ["finance", "q3", "all"] } }, { tags: "all,finance,q3" }],
  [
    "archive",
    "file",
    { vmray: { archive_action: "compound_sample" } },
    { archive_action: "compound_sample" },
  ],
  ["caching", "file", { vmray: { analysis_caching: "disabled" } }, { analysis_caching: "disabled" }],
  ["jobs", "file", { vmray: { max_jobs: 1 } }, { max_jobs: "1" }],
  ["shareable", "file", { vmray: { shareable: false } }, { shareable: "False" }],
  ["retention", "file", { vmray: { retention_period: 60 } }, { retention_period: "60" }],
  ["for-ever", "file", { vmray: { retention_period: 0 } }, { retention_period: "0" }],
  ["url-skip", "url", { action: "skip" }, null],
  ["url-lookup", "url", { action: "lookup" }, null],
  ["url-reputation", "url", { action: "reputation" }, { analyzer_mode: "reputation" }],
  ["url-dynamic", "url", { action: "dynamic" }, { analyzer_mode: undefined, max_jobs: "3" }],
  [
    "url-jobs",
    "url",
    { action: "dynamic", vmray: { max_jobs: 2, analysis_timeout: "1m" } },
    { max_jobs: "2", user_config: '{"timeout":60}' },
  ],
];

test("each action and each parameter of a rule is what VMRay is asked for, as explain said before", async () => {
  const vmray = recorded(await startAnalyzer(place, { queued: "0ms", work: "0ms" }));
  const sensor = await launchSensor(place, {
    analyzer: vmray,
    config: {
      vmray: { max_jobs: 3, tags: ["all"], shareable: true },
      triage: {
        rules: SAID.map(([name, kind, rule]) => ({
          name,
          match: { kind: kind === "file" ? "attachment" : "url", recipient: `${name}@rcpt.example` },
          ...rule,
        })),
      },
    },
  });
  const mails = SAID.map(([name, kind]) =>
    mail({
      key: name,
      to: [`${name}@rcpt.example`],
      ...(kind === "file" ? { file: script(name) } : link(name)),
    }),
  );
  const said = await explained(sensor, mails);
  expect((await sendMails(sensor.smtpPort, mails)).refused).toEqual([]);
  for (const [n, [name, kind, rule, form]] of SAID.entries()) {
    const plan = await planOf(sensor, name);
    expect(plan.map(shown)).toEqual([...(said[n] ?? [])]);
    const [part] = plan;
    const of = part?.kind === "url" ? part.url.normalized : part?.attachment.sha256;
    const about = kind === "url" ? sha256(String(of)) : String(of);
    const submissions = vmray.calls.filter((call) => (call.form.sample_url ?? call.form.sample_file) === of);
    const lookups = vmray.calls.filter(({ method, path }) => method === "GET" && path.includes(about));
    const seen = submissions.map((call) =>
      Object.fromEntries(Object.keys(form ?? {}).map((field) => [field, call.form[field]])),
    );
    expect({ name, rule: part?.decision.rule, seen }).toEqual({
      name,
      rule: name,
      seen: form === null ? [] : [form],
    });
    expect({ name, asked: lookups.length > 0 }).toEqual({
      name,
      asked: name !== "skip" && name !== "url-skip",
    });
    expect(rule).toBeDefined();
  }
}, 240_000);
