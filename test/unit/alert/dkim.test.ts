/** Signatures of alerts; test/system/alert.test.ts has them verified by another program. */
import { describe, expect, test } from "bun:test";
import { createHash, generateKeyPairSync, type KeyObject, verify } from "node:crypto";
import { relaxedBody, splitMail } from "../../../src/alert/canonical.ts";
import { type DkimKey, readDkimKey, signDkim } from "../../../src/alert/dkim.ts";
import { isOwnAlert, markAlert } from "../../../src/alert/marker.ts";
import { SECRET } from "./fixtures.ts";

const pem = (key: KeyObject) => key.export({ type: "pkcs8", format: "pem" }).toString();
const NOW = Date.UTC(2026, 0, 2);
const MAIL = Buffer.from(
  "From: a@example.org\r\nTo: b@example.org\r\nSubject: one\r\n two\r\nDate: x\r\nMessage-ID: <1@example.org>\r\n\r\nbody  \r\nmore\tof it\r\n\r\n\r\n",
);

function tagsOf(signed: Buffer): ReadonlyMap<string, string> {
  const field = splitMail(signed).fields.find(({ name }) => name === "dkim-signature");
  return new Map(
    (field?.value ?? "").split(";").map((tag): [string, string] => {
      const [name = "", ...rest] = tag.split("=");
      return [name.trim(), rest.join("=").replace(/\s/g, "")];
    }),
  );
}

describe("a DKIM signature", () => {
  const keys = {
    rsa: generateKeyPairSync("rsa", { modulusLength: 2048 }),
    ed25519: generateKeyPairSync("ed25519"),
  };

  for (const [kind, { privateKey, publicKey }] of Object.entries(keys)) {
    test(`by ${kind} is over what is shown, no field of which can come twice, and the mail stays an own alert`, () => {
      const key = readDkimKey(pem(privateKey), "B\u00fccher.example", "sensor");
      const signed = signDkim(markAlert(MAIL, SECRET, NOW), key);
      const tags = tagsOf(signed);
      expect(Object.fromEntries(tags)).toMatchObject({
        v: "1",
        a: `${kind}-sha256`,
        c: "relaxed/relaxed",
        d: "xn--bcher-kva.example",
        s: "sensor",
        bh: createHash("sha256").update("body\r\nmore of it\r\n").digest("base64"),
      });
      const names = (tags.get("h") ?? "").split(":");
      for (const name of ["from", "to", "subject", "date", "message-id", "x-email-sensor-alert"])
        expect(names.filter((one) => one === name)).toHaveLength(2);
      expect(names.filter((one) => one === "reply-to")).toHaveLength(1);
      const lines = signed.toString("latin1").split("\r\n");
      expect(Math.max(...lines.map((line) => line.length))).toBeLessThan(100);
      expect(isOwnAlert(signed, SECRET, NOW)).toBe(true);

      const { fields, body } = splitMail(signed);
      expect(relaxedBody(body)).toBe("body\r\nmore of it\r\n");
      const left = [...fields];
      const text = names.map((name) => {
        const at = left.findLastIndex((field) => field.name === name);
        const [field] = at < 0 ? [] : left.splice(at, 1);
        return field === undefined ? "" : `${name}:${field.value}\r\n`;
      });
      const own = fields.find(({ name }) => name === "dkim-signature")?.value ?? "";
      const data = Buffer.from(`${text.join("")}dkim-signature:${own.replace(/ b=.*$/, " b=")}`);
      const signature = Buffer.from(tags.get("b") ?? "", "base64");
      const good =
        kind === "rsa"
          ? verify("sha256", data, publicKey, signature)
          : verify(null, createHash("sha256").update(data).digest(), publicKey, signature);
      expect(good).toBe(true);
    });
  }

  test("needs a key that verifiers take", () => {
    const read = (text: string): DkimKey => readDkimKey(text, "example.org", "sensor");
    const ec = generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey;
    const short = generateKeyPairSync("rsa", { modulusLength: 768 }).privateKey;
    expect(() => read("nothing")).toThrow("no private key");
    expect(() => read(pem(ec))).toThrow("neither an RSA nor an Ed25519 key");
    expect(() => read(pem(short))).toThrow("768 bits");
  });
});
