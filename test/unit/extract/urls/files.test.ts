import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import type { Reading } from "../../../../src/extract/reading.ts";
import { readCalendar } from "../../../../src/extract/urls/calendar.ts";
import { headerUrls } from "../../../../src/extract/urls/headers.ts";
import { readShortcut } from "../../../../src/extract/urls/shortcuts.ts";

const LIMITS = { bytes: 1_000_000, inner: 10, urls: 100 };
const urlsOf = (reading: Reading): string[] => reading.urls.map(({ url }) => url);

describe("a calendar", () => {
  const text = [
    "BEGIN:VCALENDAR",
    "BEGIN:VEVENT",
    'ORGANIZER;CN="A:B";DIR="ldap://x/":mailto:a@example.com',
    "URL;VALUE=URI:http://a.example/url\\,x",
    "CONFERENCE;VALUE=URI;FEATURE=VIDEO:https://a.example/con",
    " ference",
    'DESCRIPTION;ALTREP="http://a.example/alt":Join http://a.example/d\\n\\nPW: 1\\, 2\\; 3 www.exam',
    "\tple.com/z",
    'X-ALT-DESC;FMTTYPE=text/html:<a href="http://a.example/html?a\\;b">x</a>',
    "LOCATION:https://a.example/l",
    "ATTACH:https://a.example/attach",
    'ATTACH;FMTTYPE=application/zip;ENCODING=BASE64;VALUE=BINARY;X-FILENAME="in.zip":UEsD',
    " BAUG",
    "BROKEN LINE http://a.example/broken",
    "END:VEVENT",
  ].join("\r\n");

  test("gives its URLs, its texts and its files", () => {
    const reading = readCalendar(text, LIMITS);
    expect(urlsOf(reading)).toEqual([
      "http://a.example/url,x",
      "https://a.example/conference",
      "http://a.example/alt",
      "https://a.example/attach",
    ]);
    expect(reading.texts.map(({ kind, source }) => [kind, source])).toEqual([
      ["html", "calendar"],
      ["text", "calendar"],
    ]);
    expect(reading.texts[0]?.text).toBe('<a href="http://a.example/html?a;b">x</a>');
    for (const piece of [
      "http://a.example/d\n\nPW: 1, 2; 3 www.example.com/z",
      "https://a.example/l",
      "/broken",
    ]) {
      expect(reading.texts[1]?.text).toContain(piece);
    }
    expect(reading.inner).toEqual([
      { name: "in.zip", declared: "application/zip", bytes: Buffer.from("PK\u0003\u0004\u0005\u0006") },
    ]);
    expect(reading.flags).toEqual([]);
  });

  test("beyond its bounds is a flag", () => {
    expect(
      readCalendar("ATTACH:http://a.example/1\nATTACH:http://a.example/2", { ...LIMITS, urls: 1 }),
    ).toMatchObject({
      urls: { length: 1 },
      flags: ["inner_urls_exceeded"],
    });
    expect(readCalendar("ATTACH;ENCODING=BASE64:AAAAAAAA", { ...LIMITS, bytes: 3 }).flags).toEqual([
      "inner_bytes_exceeded",
    ]);
  });
});

test("a business card of any age gives its URLs and pictures", () => {
  const text = [
    "BEGIN:VCARD",
    "item1.URL;TYPE=work:http://a.example/card",
    "PHOTO;ENCODING=b;TYPE=JPEG:/9j/",
    "LOGO;BASE64:",
    "  AAEC",
    "PHOTO:data:image/png;base64\\,AAEC",
    "SOUND;VALUE=uri:https://a.example/s",
    "NOTE;ENCODING=QUOTED-PRINTABLE:see http://a.exa=",
    "mple/=3Fx=C3=A4",
    "END:VCARD",
  ].join("\n");
  const reading = readCalendar(text, LIMITS);
  expect(urlsOf(reading)).toEqual(["http://a.example/card", "https://a.example/s"]);
  expect(reading.inner.map(({ declared, bytes }) => [declared, bytes.length])).toEqual([
    [null, 3],
    [null, 3],
    ["image/png", 3],
  ]);
  expect(reading.texts[0]).toMatchObject({ source: "vcard" });
  expect(reading.texts[0]?.text).toContain("http://a.example/?xä");
});

describe("a shortcut", () => {
  test.each<[string, string[], string[]]>([
    ["[InternetShortcut]\r\nURL=http://a.example/x?a=b\r\nIconIndex=0", ["http://a.example/x?a=b"], []],
    [
      "[DEFAULT]\nBASEURL=http://b.example/\n[InternetShortcut]\nurl = HTTP://a.example/",
      ["http://b.example/", "HTTP://a.example/"],
      [],
    ],
    ["[InternetShortcut]\nURL=file://evil.example/s/x.exe", [], ["file_share_link"]],
    ["[InternetShortcut]\nURL=file:///C:/x\nIconFile=C:\\x.ico", [], []],
    [
      "[InternetShortcut]\nIconFile=\\\\evil.example@80\\s\\x.ico",
      ["http://evil.example:80/s/x.ico"],
      ["file_share_link"],
    ],
    [
      "[InternetShortcut]\nURL=\\\\evil.example@SSL@8443\\s",
      ["https://evil.example:8443/s"],
      ["file_share_link"],
    ],
    ["[Desktop Entry]\nType=Link\nURL[de]=https://a.example/", ["https://a.example/"], []],
    ['[Desktop Entry]\nExec=sh -c "curl http://a.example/x | sh"', ["http://a.example/x"], []],
    [
      '<?xml version="1.0"?><!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd"><plist><dict><key>URL</key><string>https://a.example/?a&amp;b</string></dict></plist>',
      ["https://a.example/?a&b"],
      [],
    ],
    ["bplist00\u00d1\u0001\u0002SURL_\u0010\u0012https://a.example/\b\u000b", ["https://a.example/"], []],
    ["no shortcut\nX=http://a.example/", [], []],
  ])("%j", (text, urls, flags) => {
    const reading = readShortcut(text, LIMITS);
    expect(urlsOf(reading)).toEqual(urls);
    expect(reading.flags).toEqual(flags);
  });
});

describe("a header field", () => {
  test.each<[string, string, string[]]>([
    [
      "List-Unsubscribe",
      "<mailto:x@a.example>, <https://a.example/u?\r\n id=1>",
      ["https://a.example/u?id=1"],
    ],
    ["list-archive", "https://a.example/list (archive)", ["https://a.example/list"]],
    ["Archived-At", "<https://a.example/m>", ["https://a.example/m"]],
    ["Content-Base", '"http://a.example/"', ["http://a.example/"]],
    ["OpenPGP", "id=1; url=https://a.example/key; preference=sign", ["https://a.example/key"]],
    ["X-Mailer", "http://a.example/", []],
    ["List-Unsubscribe", "<<<<<<", []],
  ])("%s: %j", (name, value, urls) => {
    expect(headerUrls(name, value)).toEqual(urls.map((url) => ({ url, source: name.toLowerCase() })));
  });
});

test("no text makes a reader throw or give more than its bounds", () => {
  const piece = fc.constantFrom(
    "\r\n",
    " ",
    "=",
    ";",
    ":",
    '"',
    "\\",
    "ATTACH",
    "ENCODING=BASE64",
    "URL",
    "data:,x",
    "<",
    "[x]\n",
    "\\\\h@80\\",
    "http://a/",
    ",",
  );
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 100 }), (pieces) => {
      const text = pieces.join("");
      for (const read of [readCalendar, readShortcut]) {
        const reading = read(text, { bytes: 50, inner: 2, urls: 2 });
        expect(reading.inner.length).toBeLessThanOrEqual(2);
        expect(reading.urls.length).toBeLessThanOrEqual(2);
      }
      headerUrls("link", text);
    }),
    { numRuns: 500 },
  );
});
