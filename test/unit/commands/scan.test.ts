import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { zipSync } from "fflate";
import { mailsOfMbox, startsLikeMbox } from "../../../src/commands/scan/mbox.ts";
import { makeWithSevenZip } from "../extract/archives/make.ts";
import { attached, mail, multipart, sha256 } from "../extract/mails.ts";
import { runCommand } from "./run-command.ts";

let folder = "";
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "scan-"));
});
afterAll(() => rmSync(folder, { recursive: true }));

function file(name: string, content: string | Uint8Array): string {
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
}

const scan = (args: readonly string[], stdin = "") => runCommand(["scan", ...args], folder, stdin);

const FROM_LINE = "From a@example.com Mon Jan  1 10:00:00 2024\n";

describe("scan", () => {
  test("gives one JSON object a file, in order, each with every key", async () => {
    const first = file("first.eml", multipart(["Subject: first"], [attached("a.bin", "\0\x01\x02")]));
    const second = file("second.eml", mail(["Subject: second\u0007\u009b"], "http://a.example/"));
    const { rows, code, out } = await scan(["--json", first, second]);
    expect(code).toBe(0);
    expect(out).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f]/);
    const [one, two] = rows();
    expect(Object.keys(one)).toEqual([
      "file",
      "error",
      "mail",
      "envelope",
      "attachments",
      "urls",
      "passwords",
      "flags",
      "complete",
    ]);
    expect(one).toMatchObject({
      file: first,
      error: null,
      mail: { subject: "first" },
      urls: [],
      complete: true,
    });
    expect(one.attachments).toEqual([
      {
        filename: "a.bin",
        sha256: sha256("\0\x01\x02"),
        size: 3,
        type: "application/octet-stream",
        views: ["mime", "lenient"],
        path: [],
        sha1: expect.any(String),
        md5: expect.any(String),
        within: "mail",
        facts: [],
        password: null,
      },
    ]);
    expect(two.urls).toEqual([
      { url: "http://a.example/", normalized: "http://a.example/", sources: ["text"] },
    ]);
  });

  test("goes on after a file it cannot read, and exits 1", async () => {
    const good = file("good.eml", mail(["Subject: good"], "x"));
    const outlook = file("a.msg", Buffer.from("d0cf11e0a1b11ae1", "hex"));
    const tnef = file("winmail.dat", Buffer.from("789f3e22", "hex"));
    mkdirSync(join(folder, "folder"), { recursive: true });
    const { rows, code } = await scan(["--json", "missing.eml", outlook, tnef, "folder", good]);
    expect(code).toBe(1);
    const errors = rows().map(({ error }) => error);
    expect(errors).toEqual(["does not exist", null, null, "is a folder", null]);
    expect(rows()[0]).toMatchObject({ mail: { subject: null, from: [] }, attachments: [], complete: false });
  });

  test("reads a mail from stdin", async () => {
    const { rows, code } = await scan(["--json", "-"], mail(["Subject: from stdin"], "x").toString());
    expect(code).toBe(0);
    expect(rows()).toMatchObject([{ file: "-", mail: { subject: "from stdin" } }]);
  });

  test("reads every mail of an mbox", async () => {
    const box = file("box.mbox", `${FROM_LINE}Subject: 1\n\nx\n\n${FROM_LINE}Subject: 2\n\ny\n`);
    const { rows } = await scan(["--json", box]);
    expect(rows()).toMatchObject([
      { file: box, message: 1, mail: { subject: "1" } },
      { file: box, message: 2, mail: { subject: "2" } },
    ]);
  });

  test("writes the bytes of each attachment, named by its hash", async () => {
    const inner = multipart([], [attached("b", "inner")], "in");
    const raw = multipart(
      [],
      [attached("../../a", "outer"), { headers: ["Content-Type: message/rfc822"], body: inner }],
    );
    const out = join(folder, "new", "out");
    const { code, rows } = await scan(["--json", "--extract-to", out, file("a.eml", raw)]);
    expect(code).toBe(0);
    const hashes: string[] = rows()[0].attachments.map((one: { sha256: string }) => one.sha256);
    expect(readdirSync(out).sort()).toEqual(hashes.toSorted());
    for (const hash of hashes) expect(sha256(readFileSync(join(out, hash)))).toBe(hash);
    expect(hashes).toContain(sha256("inner"));
  });

  test("shows people a summary in which nothing moves the cursor", async () => {
    const raw = multipart(
      ["Subject: =?utf-8?q?red_=1B[31m_now?=", "From: a@example.com"],
      [
        attached("a\u202etxt.exe", "MZ"),
        { headers: ["Content-Type: text/plain"], body: "http://a.example/" },
      ],
    );
    const { out, code } = await scan([file("b.eml", raw)]);
    expect(code).toBe(0);
    expect(out).toContain("red \\u001b[31m now");
    expect(out).toContain("2B, text/plain");
    expect(out).toContain(sha256("MZ"));
    expect(out).toContain("http://a.example/ (text)");
    expect(out).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202e]/);
  });

  test("shows what is in containers, what is true of it, whom it was for, and what was not read", async () => {
    const archive = zipSync({ "report.pdf.exe": Buffer.from("MZ") });
    const inner = multipart(
      ["Subject: Offer", "Message-ID: <1@example.net>", "From: a@example.net"],
      [
        attached("docs.zip", Buffer.from(archive)),
        attached("broken.pdf", "%PDF-1.7\n"),
        {
          headers: ["Content-Type: text/html"],
          body: '<a href="https://www.google.com/url?q=http%3A%2F%2Fb.example.com%2F">b</a>',
        },
      ],
      "inner",
    );
    const fields = [
      "Sender: a@example.net",
      "Subject: Offer",
      "Message-Id: <1@example.net>",
      "To: b@example.org",
    ];
    const raw = multipart(
      ["X-MS-Journal-Report:"],
      [
        { headers: ["Content-Type: text/plain"], body: `${fields.join("\r\n")}\r\n` },
        { headers: ["Content-Type: message/rfc822", "Content-Disposition: attachment"], body: inner },
      ],
    );
    const { out } = await scan([file("report.eml", raw)]);
    for (const text of [
      "subject     Offer\n",
      "envelope    journal report: from a@example.net to b@example.org\n",
      "report.pdf.exe, 2B, text/plain, in unnamed.eml > docs.zip\n",
      "facts       double_extension\n",
      "http://b.example.com/ (html)\n      wrapped in  https://www.google.com/url?q=",
      "flag        pdf_unreadable: ",
      "complete    no: something was not read\n",
    ]) {
      expect(out).toContain(text);
    }
  });

  test("shows what only another reading finds, and the password that opens an archive", async () => {
    const archive = await makeWithSevenZip({ "a.txt": "inside" }, ["-tzip", "-pSesame-42"]);
    const raw = multipart(
      ["Subject: files"],
      [
        { headers: ["Content-Type: text/plain"], body: "The password is: Sesame-42" },
        attached("locked.zip", Buffer.from(archive)),
        {
          headers: ["Content-Type: application/octet-stream", "Content-Transfer-Encoding: x-odd"],
          body: `${Buffer.from("MZ".padEnd(200, "\0")).toString("base64")}\r\n`,
        },
      ],
    );
    const { out } = await scan([file("locked.eml", raw)]);
    expect(out).toContain("facts       encrypted\n      password    Sesame-42\n");
    expect(out).toContain("found by    lenient");
  });

  test.each([[["--json"]], [["--nonsense", "x"]], [[]]])("takes %j for bad usage", async (args) => {
    const { code, errors } = await scan(args);
    expect(code).toBe(2);
    expect(errors).toContain("see --help");
  });
});

describe("an mbox", () => {
  const split = (mbox: string) => [...mailsOfMbox(Buffer.from(mbox))].map(String);

  test("is split at From lines after an empty line alone", () => {
    expect(
      split(`${FROM_LINE}A: 1\n\nx\nFrom the start 10:00\n\nFrom here on\n\n${FROM_LINE}B: 2\n\ny`),
    ).toEqual(["A: 1\n\nx\nFrom the start 10:00\n\nFrom here on\n\n", "B: 2\n\ny"]);
    expect(split(`${FROM_LINE}A: 1\r\n\r\n${FROM_LINE}B: 2\r\n`)).toEqual(["A: 1\r\n\r\n", "B: 2\r\n"]);
  });

  test("gives quoted From lines back as they were", () => {
    expect(split(`${FROM_LINE}\n>From x\n>>From y\n> From z\n`)).toEqual(["\nFrom x\n>From y\n> From z\n"]);
  });

  test("is known by its first line", () => {
    expect(startsLikeMbox(Buffer.from(FROM_LINE))).toBe(true);
    expect(startsLikeMbox(Buffer.from("From: a@example.com"))).toBe(false);
    expect(startsLikeMbox(Buffer.from("From time to time"))).toBe(false);
  });
});
