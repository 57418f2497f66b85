/**
 * DKIM signatures of alerts (RFC 6376), by RSA or Ed25519 (RFC 8463), relaxed both in header and body.
 *
 * The bytes of an alert in, its DKIM-Signature field out. Each field that is shown is signed once more than it is there,
 * so that no second one can be put beside it (section 5.4.2). A key that cannot sign is found when it is read: throws
 * an Error that completes "KEY ...", without a word of the key.
 */
import { createHash, createPrivateKey, type KeyObject, sign } from "node:crypto";
import { readFileSync } from "node:fs";
import type { AlertConfig } from "../config/schema.ts";
import { asSensorError, SensorError } from "../errors.ts";
import { relaxedBody, relaxedValue, splitMail } from "./canonical.ts";
import { ALERT_HEADER, SIGNED_FIELDS } from "./marker.ts";
import { domainOf } from "./recipients.ts";

export type DkimKey = {
  readonly domain: string;
  readonly selector: string;
  readonly key: KeyObject;
};

/** RFC 8301: verifiers must not take shorter ones. */
const MIN_RSA_BITS = 1024;

export function readDkimKey(pem: string | Buffer, domain: string, selector: string): DkimKey {
  const key = privateKey(pem);
  const bits = key.asymmetricKeyDetails?.modulusLength ?? 0;
  if (key.asymmetricKeyType !== "ed25519" && key.asymmetricKeyType !== "rsa")
    throw new Error("is neither an RSA nor an Ed25519 key");
  if (key.asymmetricKeyType === "rsa" && bits < MIN_RSA_BITS)
    throw new Error(`is an RSA key of ${bits} bits: it must have ${MIN_RSA_BITS} at least`);
  return { domain: domainOf(domain), selector: domainOf(selector), key };
}

function privateKey(pem: string | Buffer): KeyObject {
  try {
    return createPrivateKey(pem);
  } catch (cause) {
    throw new Error("is no private key in PEM without a password", { cause });
  }
}

/** The key of the configuration; throws CONFIG_INVALID where it cannot sign. */
export function loadDkimKey({ name, dkim }: Pick<AlertConfig, "name" | "dkim">): DkimKey | null {
  if (dkim === undefined) return null;
  try {
    return readDkimKey(readFileSync(dkim.key_file), dkim.domain, dkim.selector);
  } catch (cause) {
    const message = `alert ${name}: dkim.key_file: ${asSensorError(cause).message}`;
    throw new SensorError("CONFIG_INVALID", message, { cause });
  }
}

/** The message with its signature as the first field. `message` has CRLF line ends and is all ASCII. */
export function signDkim(message: Uint8Array, { domain, selector, key }: DkimKey): Buffer {
  const { fields, body } = splitMail(message);
  const signed = [...SIGNED_FIELDS, ALERT_HEADER.toLowerCase()].map((name) => ({
    name,
    // Bottom up (section 5.4.2).
    there: fields.filter((field) => field.name === name).toReversed(),
  }));
  const names = signed.flatMap(({ name, there }) => [...there.map(() => name), name]);
  const ed25519 = key.asymmetricKeyType === "ed25519";
  const open = [
    `v=1; a=${ed25519 ? "ed25519" : "rsa"}-sha256; c=relaxed/relaxed; d=${domain};`,
    ` s=${selector};`,
    ` h=${names.join(":").replace(/.{1,66}:(?=.)/g, "$&\r\n  ")};`,
    ` bh=${createHash("sha256").update(relaxedBody(body), "latin1").digest("base64")};`,
    " b=",
  ].join("\r\n");
  const text = [
    ...signed.flatMap(({ there }) => there.map(({ name, value }) => `${name}:${value}\r\n`)),
    `dkim-signature:${relaxedValue(open)}`,
  ].join("");
  // RFC 8463 section 3: Ed25519 signs the hash, RSA does that by itself.
  const signature = ed25519
    ? sign(null, createHash("sha256").update(text, "latin1").digest(), key)
    : sign("sha256", Buffer.from(text, "latin1"), key);
  const value = `${open}${signature.toString("base64").replace(/.{70}(?=.)/g, "$&\r\n  ")}`;
  return Buffer.concat([Buffer.from(`DKIM-Signature: ${value}\r\n`, "latin1"), message]);
}
