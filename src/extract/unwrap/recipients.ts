/**
 * Tells whom a copy of a mail was really for: the envelope of a copy names the mailbox of copies alone.
 *
 * Sources, in order:
 * 1. The envelope of the copy, where the recipient is written into it: `copies+user=example.com@sensor.example`,
 *    `copies+user%40example.com@sensor.example`. The MTA that copies wrote it, so it is as true as that MTA. In the
 *    address of any other mailbox what follows the + is the sender's to choose: such addresses stay as they are.
 * 2. Fields that an MTA writes on top when it delivers or forwards. Anyone can write the same fields into a mail,
 *    below the `Received` of the first MTA of one's own. So only those above that one count: `ownReceived` is how
 *    many `Received` fields one's own MTAs put on top.
 * 3. The envelope as it is.
 *
 * Addresses of the copy itself are left out where there are others. To and Cc are not looked at: they say what the
 * sender likes.
 */
import { addressKey, addressOf, createAddressList } from "./addresses.ts";
import type { Field } from "./carrier.ts";
import type { UnwrapFlag } from "./flags.ts";

export type CopyRecipient = {
  readonly address: string;
  /** "envelope", "copy_address", or the name of the field in lower case. */
  readonly source: string;
};

export type CopyRecipients = {
  readonly recipients: readonly CopyRecipient[];
  readonly flags: readonly UnwrapFlag[];
};

const MAX_RECIPIENTS = 1000;
const MAX_FIELDS = 1000;
const MAX_VALUE = 8192;
const MAX_COPY_ADDRESS = 700;

/** Fields with the recipient a mail had at the MTA that wrote them. */
const FIELDS: ReadonlySet<string> = new Set([
  // Postfix, local(8), virtual(8), pipe(8)
  "x-original-to",
  "delivered-to",
  // Exim, and others after it
  "envelope-to",
  "x-envelope-to",
  "x-delivered-to",
  // Google Workspace: routing with a changed recipient; forwarding, whose first address had the mail before
  "x-gm-original-to",
  "x-forwarded-to",
  "x-forwarded-for",
  // Exchange: the mailbox whose rule or setting forwarded
  "x-ms-exchange-inbox-rules-loop",
  "x-ms-exchange-forwardingloop",
]);

export function copyRecipients(
  headers: readonly Field[],
  envelopeTo: readonly string[],
  ownReceived = 1,
  isOfCopies: (address: string) => boolean = () => true,
): CopyRecipients {
  const list = createAddressList<CopyRecipient>(MAX_RECIPIENTS);
  let exceeded = false;
  const add = (address: string, source: string): void => {
    if (!list.add(address, { address, source })) exceeded = true;
  };
  const copies = new Set<string>();
  const others: string[] = [];
  for (const written of envelopeTo) {
    const address = addressOf(written);
    if (address !== null) copies.add(addressKey(address));
    // With an address in it the local part may be longer than that of an address.
    const ofCopies = written.length <= MAX_COPY_ADDRESS && isOfCopies(written);
    const encoded = ofCopies ? decodeCopyAddress(written) : null;
    if (encoded !== null) add(encoded, "copy_address");
    else if (!ofCopies && address !== null) others.push(address);
  }
  if (list.entries().length > 0) for (const address of others) add(address, "envelope");
  for (const { name, value } of trustedFields(headers, ownReceived)) {
    for (const address of addressesIn(name, value)) {
      const key = addressKey(address);
      // A field can hold the address that the envelope had, with the recipient written into it.
      const encoded = isOfCopies(address) ? decodeCopyAddress(address) : null;
      if (!copies.has(key)) add(encoded ?? address, name);
    }
  }
  const found = list.entries();
  if (found.length === 0) {
    for (const written of envelopeTo) {
      const address = addressOf(written);
      if (address !== null) add(address, "envelope");
    }
  }
  return { recipients: list.entries(), flags: exceeded ? ["copy_recipients_exceeded"] : [] };
}

/**
 * The address written into the part of a local part that follows its first "+" (as VERP writes it: the last "="
 * stands for the "@"), null where there is none.
 */
export function decodeCopyAddress(address: string): string | null {
  const local = address.slice(0, address.lastIndexOf("@"));
  const plus = local.indexOf("+");
  if (plus < 0) return null;
  const detail = local.slice(plus + 1);
  const percent = detail.toLowerCase().lastIndexOf("%40");
  const at = percent >= 0 ? percent : detail.lastIndexOf("=");
  const decoded = addressOf(
    `${detail.slice(0, Math.max(0, at))}@${detail.slice(at + (percent >= 0 ? 3 : 1))}`,
  );
  // A domain without a dot is a tag of another kind: copies+year=2026.
  return at > 0 && decoded !== null && /@[^@]*\p{L}[^@]*\.[^@.]+$|@[^@]+\.\p{L}[^@]*$/u.test(decoded)
    ? decoded
    : null;
}

/** Fields above the `Received` that the first MTA of one's own wrote; none where there is no such field. */
function* trustedFields(headers: readonly Field[], ownReceived: number): Generator<Field> {
  const received: number[] = [];
  for (const [index, { name }] of headers.entries()) {
    if (received.length >= ownReceived) break;
    if (name.toLowerCase() === "received") received.push(index);
  }
  const end = received.at(-1) ?? 0;
  let count = 0;
  for (const { name, value } of headers.slice(0, end)) {
    const lower = name.toLowerCase();
    if (!FIELDS.has(lower)) continue;
    if (++count > MAX_FIELDS) return;
    yield { name: lower, value };
  }
}

function addressesIn(name: string, value: string): readonly string[] {
  const separators = name === "x-forwarded-for" ? /[\s,;]+/ : /[,;]+/;
  const words = value.slice(0, MAX_VALUE).split(separators).slice(0, 100);
  const found = words.map(addressOf).filter((address) => address !== null);
  // What follows the first is not whom the mail was for, but where it went.
  return name === "x-forwarded-for" || name.startsWith("x-ms-") ? found.slice(0, 1) : found;
}
