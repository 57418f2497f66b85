import { expect, test } from "bun:test";
import { attached, extractionOf, multipart } from "./mails.ts";
import { bytes, compound, vbaProject } from "./office/make.ts";

const macros = compound(vbaProject("Sub Document_Open()\r\nEnd Sub"));

test("a document of Office in one XML file is read as such, whatever it is called", async () => {
  const xml = `<?xml version="1.0"?><?mso-application progid="Word.Document"?><w:wordDocument><w:docOleData><w:binData w:name="oledata.mso">${Buffer.from(macros).toString("base64")}</w:binData></w:docOleData><w:hlink w:dest="http://a.example/"/></w:wordDocument>`;
  for (const name of ["a.xml", "a.doc"]) {
    for (const content of [bytes(xml), bytes("\xef\xbb\xbf", xml)]) {
      const { urls, flags } = await extractionOf(multipart([], [attached(name, content)]));
      expect(urls.map(({ normalized }) => normalized)).toEqual(["http://a.example/"]);
      expect(flags).toEqual([]);
    }
  }
});
