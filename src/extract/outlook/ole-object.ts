/**
 * The files in an OLE object that a mail embeds: the ones a double click opens, and the whole object where there
 * is more in it than those and the notes that OLE keeps for itself.
 */

import type { Compound, CompoundEntry } from "../ole/compound.ts";
import type { Inner, ReadingBuilder } from "../reading.ts";
import { type Description, MAX_NAME } from "./mail.ts";
import { decodeBytes, readUint32 } from "./mapi.ts";

const NATIVE = "\u0001OLE10NATIVE";
const CONTENTS = new Set(["CONTENTS", "PACKAGE", "EMBEDDEDODF", NATIVE]);
/** Streams that say how an object looks or links, all of whose names begin with a control character. */
const NOTES =
  /^[\u0001-\u0003](?:ole|compobj|objinfo|ole10itemname|olepres\d{3}|eprint|meta|pic|mailstream|mailmsgatt|accessobjsitedata|ocxname|ole10ftm)$/i;

/** `whole` makes a compound file of the object; it is called only where it is needed. */
export function readOleObject(
  compound: Compound,
  storage: CompoundEntry | null,
  given: Description,
  whole: () => Uint8Array | null,
  reading: ReadingBuilder,
): void {
  reading.fact("outlook_ole_object");
  let found = false;
  let more = false;
  for (const entry of compound.children(storage)) {
    if (entry.kind === "stream" && CONTENTS.has(entry.name.toUpperCase())) {
      const content = compound.read(entry, reading.left() + 1);
      const native = entry.name.toUpperCase() === NATIVE;
      found = content.length > 0 || found;
      if (
        content.length > 0 &&
        !reading.inner(native ? readNative(content, given) : { ...given, bytes: content })
      ) {
        return;
      }
    } else if (entry.kind === "storage" || !NOTES.test(entry.name)) more = true;
  }
  if (found && !more) return;
  const bytes = whole();
  if (bytes) reading.inner({ ...given, bytes });
}

/** The file in an Ole10Native stream with its own name; the stream as it is where it is built otherwise. */
function readNative(content: Uint8Array, given: Description): Inner {
  const asIs = { ...given, bytes: content.length > 4 ? content.subarray(4) : content };
  const label = zeroEnded(content, 6);
  const path = label && zeroEnded(content, label.end);
  if (!label || !path || path.end + 8 > content.length) return asIs;
  const pathBytes = readUint32(content, path.end + 4);
  const sizeAt = path.end + 8 + pathBytes;
  if (sizeAt + 4 > content.length) return asIs;
  const size = readUint32(content, sizeAt);
  if (size === 0 || sizeAt + 4 + size > content.length) return asIs;
  const name = label.text === "" ? given.name : label.text;
  return { name, declared: given.declared, bytes: content.subarray(sizeAt + 4, sizeAt + 4 + size) };
}

function zeroEnded(bytes: Uint8Array, from: number): { readonly text: string; readonly end: number } | null {
  const end = bytes.subarray(from, from + MAX_NAME).indexOf(0);
  if (end === -1) return null;
  return { text: decodeBytes(bytes.subarray(from, from + end), 0), end: from + end + 1 };
}
