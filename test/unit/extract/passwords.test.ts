/** Archives whose password stands elsewhere in the mail, wherever that is. */
import { expect, test } from "bun:test";
import { zipSync } from "fflate";
import { makeWithSevenZip } from "./archives/make.ts";
import { cpuNow } from "./clock.ts";
import { attached, extractionOf, mail, multipart, type Part } from "./mails.ts";

const PASSWORD = "Tulpe#4711";
const TELLS = `Password: ${PASSWORD}`;

const sealed = (name = "inner.exe") =>
  makeWithSevenZip({ [name]: "MZ inner" }, ["-tzip", `-p${PASSWORD}`, "-mem=AES256"]);
const text = (body: string): Part => ({ headers: ["Content-Type: text/plain"], body });
const file = (name: string, content: string) => attached(name, zipSync({ [name]: Buffer.from(content) }));

/** Each archive as its name, its password and what is in it. */
async function read(parts: readonly Part[], ...headers: readonly string[]) {
  const { attachments, flags, complete, passwords } = await extractionOf(multipart(headers, parts, "=_o"));
  const opened = attachments.filter(({ password }) => password !== null).map(({ filename }) => filename);
  const inner = attachments.filter(({ filename }) => filename === "inner.exe");
  return { opened, inner: inner.length, flags, complete, passwords: passwords[0] };
}

const OPENED = { opened: ["a.zip"], inner: 1, flags: [], complete: true, passwords: PASSWORD };

test("an archive is opened by a password in an archive behind it, and listed once", async () => {
  const parts = [text("See."), attached("a.zip", await sealed()), file("readme.txt", TELLS)];
  expect(await read(parts)).toEqual(OPENED);
});

test("an archive is opened by a password in what another archive behind it hides", async () => {
  const key = await makeWithSevenZip({ "readme.txt": TELLS }, ["-tzip", "-pRose#0815", "-mem=AES256"]);
  const parts = [attached("a.zip", await sealed()), attached("key.zip", key), file("n.txt", "pw: Rose#0815")];
  const { opened, inner, complete } = await read(parts);
  expect({ opened: opened.toSorted(), inner, complete }).toEqual({
    opened: ["a.zip", "key.zip"],
    inner: 1,
    complete: true,
  });
});

test("an archive is opened by a password in a mail around it, in it, or beside it", async () => {
  const zip = attached("a.zip", await sealed());
  const nested = (parts: readonly Part[], ...headers: readonly string[]): Part => ({
    headers: ["Content-Type: message/rfc822"],
    body: multipart(headers, parts, "=_i"),
  });
  expect(await read([text(TELLS), nested([zip])])).toEqual(OPENED);
  expect(await read([zip, nested([text(TELLS)])])).toEqual(OPENED);
  expect(await read([nested([zip]), nested([text("See.")], `Subject: ${TELLS}`)])).toEqual(OPENED);
});

test("an archive that nothing opens is listed with a flag, with its names where it shows them", async () => {
  const parts = [text("See."), attached("a.zip", await sealed()), file("readme.txt", "nothing here")];
  const { opened, inner, flags, complete } = await read(parts);
  expect({ opened, inner, flags, complete }).toEqual({
    opened: [],
    inner: 0,
    flags: ["archive_encrypted"],
    complete: false,
  });
});

test("what is open in an archive that is locked in part is listed once, though a password comes later", async () => {
  const locked = await sealed();
  const open = zipSync({ "readme.txt": Buffer.from(TELLS), "a.zip": locked });
  const { attachments } = await extractionOf(mail(["Content-Type: application/zip"], Buffer.from(open)));
  const names = attachments.map(({ filename }) => filename ?? "the zip");
  expect(names.toSorted()).toEqual(["a.zip", "inner.exe", "readme.txt", "the zip"]);
});

test("many locked archives and as many texts cost no more than some rounds", async () => {
  const locked = await Promise.all(Array.from({ length: 8 }, (_, n) => sealed(`inner${n}.exe`)));
  const wrong = locked.flatMap((zip, n) => [
    attached(`a${n}.zip`, zip),
    file(`r${n}.txt`, `Password: no-${n}`),
  ]);
  const started = cpuNow();
  const { opened, complete } = await read(wrong);
  expect({ opened, complete }).toEqual({ opened: [], complete: false });
  expect(cpuNow() - started).toBeLessThan(20000);
});
