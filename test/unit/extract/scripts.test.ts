import { expect, test } from "bun:test";
import { attached, extractionOf, mail, multipart } from "./mails.ts";

const urlsOf = async (raw: Uint8Array) => (await extractionOf(raw)).urls.map(({ normalized }) => normalized);

test("a script in an attachment is read as one: its texts are put together", async () => {
  const raw = multipart(
    [],
    [attached("invoice.js", 'var u = "ht" + "tp://" + "script.example/a";\r\nlocation = u;\r\n')],
  );
  expect(await urlsOf(raw)).toContain("http://script.example/a");
});

test("a URL with the address of a recipient is personal, whether the copy or the header names it", async () => {
  const body = "http://a.example/?to=bob@example.org http://b.example/?to=ann@example.org http://c.example/";
  const { urls } = await extractionOf(mail(["To: bob@example.org"], body));
  expect(urls.map(({ personal }) => personal ?? false)).toEqual([true, false, false]);
});
