/** The rules by which the simulator decides, on contents as they come and as an attacker would make them. */
import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { zipSync } from "fflate";
import { EICAR, judgeFile, judgeUrl, MARKER_PREFIX } from "../../../src/analyzer/simulator/judgement.ts";
import { zipMembers } from "../../../src/analyzer/simulator/zip.ts";
import { makeWithSevenZip } from "../extract/archives/make.ts";

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const outcome = (content: Uint8Array | string): string =>
  judgeFile(typeof content === "string" ? bytes(content) : content).outcome;
const urlOutcome = (url: string): string => judgeUrl(new URL(url)).outcome;

/** A zip whose first member claims to be encrypted, in both of its headers. */
function encryptedZip(): Uint8Array {
  const zip = Buffer.from(zipSync({ "a.txt": bytes(EICAR) }));
  const directory = zip.indexOf(Buffer.from([0x50, 0x4b, 0x01, 0x02]));
  zip.writeUInt16LE(zip.readUInt16LE(6) | 1, 6);
  zip.writeUInt16LE(zip.readUInt16LE(directory + 8) | 1, directory + 8);
  return zip;
}

describe("a file", () => {
  test("with the EICAR test file anywhere in it is malicious and names the threat", () => {
    const judgement = judgeFile(bytes(`some text before ${EICAR} and after`));
    expect(judgement.outcome).toBe("malicious");
    expect(judgement.threatNames).toEqual(["EICAR-Test-File"]);
    expect(judgement.why).toBe("The file contains the EICAR test file.");
  });

  test("follows its marker", () => {
    for (const name of ["malicious", "suspicious", "error", "not_available", "clean"]) {
      expect(outcome(`x ${MARKER_PREFIX}${name} y`)).toBe(name);
    }
  });

  test("with a marker that is none, or nearly EICAR, is clean", () => {
    expect(outcome(`${MARKER_PREFIX}evil`)).toBe("clean");
    expect(outcome(EICAR.slice(1))).toBe("clean");
    expect(outcome(new Uint8Array())).toBe("clean");
  });

  test("with several markers takes the worst, wherever they stand", () => {
    expect(outcome(`${MARKER_PREFIX}clean ${MARKER_PREFIX}suspicious`)).toBe("suspicious");
    const zip = zipSync({
      "a.txt": bytes(`${MARKER_PREFIX}error`),
      "b.txt": bytes(`${MARKER_PREFIX}malicious`),
      "c.txt": bytes(`${MARKER_PREFIX}clean`),
    });
    expect(outcome(zip)).toBe("malicious");
  });
});

describe("a zip", () => {
  test("is judged by its members, deflated or stored", () => {
    const member = bytes(EICAR.padEnd(5000, "a"));
    expect(outcome(zipSync({ "x/eicar.com": [member, { level: 9 }] }))).toBe("malicious");
    const stored = judgeFile(zipSync({ "clean.txt": bytes("hello"), "eicar.com": [member, { level: 0 }] }));
    expect(stored.outcome).toBe("malicious");
    const packed = judgeFile(zipSync({ "eicar.com": [member, { level: 9 }] }));
    expect(packed.why).toBe("A member of the zip contains the EICAR test file.");
  });

  test("inside a zip is opened, three levels deep and no deeper", () => {
    const wrap = (content: Uint8Array): Uint8Array => zipSync({ "inner.zip": [content, { level: 9 }] });
    const marker = bytes(`${MARKER_PREFIX}suspicious${" ".repeat(2000)}`);
    const one = zipSync({ "a.txt": [marker, { level: 9 }] });
    expect(outcome(wrap(wrap(one)))).toBe("suspicious");
    expect(outcome(wrap(wrap(wrap(one))))).toBe("clean");
  });

  test("behind other bytes, as a self-extracting one, is opened", () => {
    const zip = zipSync({ "a.txt": [bytes(EICAR.padEnd(3000, "b")), { level: 9 }] });
    expect(outcome(Buffer.concat([bytes("MZ".padEnd(700, "x")), zip]))).toBe("malicious");
  });

  test("with encrypted members is not available and says that it is protected", () => {
    expect(judgeFile(encryptedZip())).toMatchObject({ outcome: "not_available", passwordProtected: true });
    expect(judgeFile(encryptedZip(), "x")).toMatchObject({ outcome: "not_available", opened: false });
  });

  test.each([
    ["the traditional cipher", "ZipCrypto"],
    ["AES with 128 bits", "AES128"],
    ["AES with 256 bits", "AES256"],
  ])(
    "that is encrypted by %s is judged by its members with the right password alone",
    async (_name, cipher) => {
      for (const files of [{ "e.com": EICAR }, { "e.com": EICAR.padEnd(90_000, "a"), "b.txt": "b" }]) {
        const zip = await makeWithSevenZip(files, ["-tzip", "-pKaese-77", `-mem=${cipher}`]);
        expect(judgeFile(zip, "Kaese-77")).toMatchObject({
          outcome: "malicious",
          passwordProtected: true,
          opened: true,
        });
        const locked = { outcome: "not_available", threatNames: [], passwordProtected: true, opened: false };
        expect(judgeFile(zip)).toMatchObject(locked);
        // The traditional cipher lets one wrong password in 256 pass its first check.
        for (let n = 0; n < 600; n += cipher === "ZipCrypto" ? 1 : 100)
          expect(judgeFile(zip, `wrong${n}`)).toMatchObject(locked);
      }
    },
  );

  test("of which the password opens only a part is not called clean", async () => {
    const open = await makeWithSevenZip({ "a.txt": "hello" }, ["-tzip", "-pone", "-mem=AES256"]);
    const both = zipSync({ "open.zip": open, "locked.zip": encryptedZip() });
    expect(judgeFile(both, "one")).toMatchObject({ outcome: "not_available", opened: false });
    expect(judgeFile(zipSync({ "open.zip": open }), "one")).toMatchObject({ outcome: "clean", opened: true });
  });

  test("that unpacks to far more than it is costs no more than the budget", () => {
    const bomb = zipSync(
      Object.fromEntries(
        Array.from({ length: 8 }, (_, at) => [`${at}`, [new Uint8Array(1024 ** 2), { level: 1 }]]),
      ),
    );
    const budget = { members: 1000, bytes: 4.5 * 1024 ** 2 };
    let unpacked = 0;
    for (const member of zipMembers(bomb, budget)) {
      if (member.state === "read") unpacked += member.bytes.length;
    }
    expect(unpacked).toBeGreaterThan(0);
    expect(unpacked).toBeLessThanOrEqual(4.5 * 1024 ** 2);
    expect(budget.bytes).toBeGreaterThanOrEqual(0);
  });

  test("with more members than the budget is read up to it", () => {
    const many = zipSync(Object.fromEntries(Array.from({ length: 50 }, (_, at) => [`${at}`, bytes("x")])));
    expect([...zipMembers(many, { members: 10, bytes: 1000 })]).toHaveLength(10);
  });

  test("that is damaged anywhere is judged without a fault", () => {
    const zip = zipSync({ "a.txt": bytes(EICAR.padEnd(500, "c")), "b/c.txt": bytes("hello") });
    fc.assert(
      fc.property(
        fc.nat(zip.length - 1),
        fc.integer({ min: 0, max: 255 }),
        fc.nat(zip.length),
        (at, byte, end) => {
          const damaged = Buffer.from(zip);
          damaged[at] = byte;
          judgeFile(damaged, "x");
          judgeFile(damaged.subarray(0, end));
          judgeFile(damaged.subarray(end));
        },
      ),
      { numRuns: 300 },
    );
  });
});

describe("a URL", () => {
  test("is judged by any label of a host under a reserved name", () => {
    expect(urlOutcome("http://malicious.example/a?b=c")).toBe("malicious");
    expect(urlOutcome("https://www.MALICIOUS.example.com:8443/")).toBe("malicious");
    expect(urlOutcome("http://login.suspicious.test/")).toBe("suspicious");
    expect(urlOutcome("http://error.invalid./")).toBe("error");
    expect(urlOutcome("http://unknown.example")).toBe("not_available");
    expect(urlOutcome("http://www.example.org/malicious")).toBe("clean");
  });

  test("takes the worst label", () => {
    expect(urlOutcome("http://unknown.suspicious.example/")).toBe("suspicious");
  });

  test("of a real host is never accused", () => {
    for (const url of [
      "http://malicious.com/",
      "http://malicious.example.com.real-host.com/",
      "http://notmalicious.example/",
      "http://malicious@www.example.com/",
      "http://example.com/?malicious.example",
    ]) {
      expect(urlOutcome(url)).toBe("clean");
    }
  });
});
