/**
 * A mail that may carry another one, as a MIME reader gives it.
 */

/** `value`: unfolded, otherwise as it stands in the mail. In the order of the mail. */
export type Field = { readonly name: string; readonly value: string };

/** A part without parts of its own; a mail in the mail is one part of type "message/rfc822". */
export type LeafPart = {
  /** Media type in lower case, without parameters. */
  readonly declared: string;
  /** File name. */
  readonly name: string | null;
  /** Transfer encoding undone. */
  readonly bytes: Uint8Array;
  /** "inline" or "attachment". */
  readonly disposition: string | null;
  /** Of a text. */
  readonly charset?: string | null;
};

export type Carrier = { readonly headers: readonly Field[]; readonly parts: readonly LeafPart[] };

/** The first field of that name (lower case), null where there is none. */
export function fieldOf(headers: readonly Field[], name: string): string | null {
  return headers.find((field) => field.name.toLowerCase() === name)?.value.trim() ?? null;
}

/** The text of a part in its charset, in UTF-8 or in windows-1252, whichever reads it first. */
export function textOf({ bytes, charset }: LeafPart): string {
  for (const label of [charset ?? "utf-8", "utf-8"]) {
    try {
      return new TextDecoder(label as "utf-8", { fatal: true }).decode(bytes);
    } catch {
      // Not of that charset, or one that is not known here.
    }
  }
  return new TextDecoder("windows-1252").decode(bytes);
}
