/**
 * What intake gives to the spool: a mail as the MTA handed it over, with its envelope.
 */

/** The SMTP envelope (RFC 5321): who sent what to whom, from where. */
export type Envelope = {
  /** Reverse path without brackets; "" is the null sender. */
  readonly from: string;
  /** Forward paths without brackets, in the order given, at least one. */
  readonly to: readonly string[];
  /** Address of the SMTP client. */
  readonly client_ip: string;
  /** What the client said in HELO or EHLO. */
  readonly helo: string;
  /** TLS version and cipher of the session ("TLSv1.3 TLS_AES_256_GCM_SHA384"), null where it was plain. */
  readonly tls: string | null;
};

/** Where the bytes of a mail are: small ones in the spool database, large ones in a file beside it. */
export type RawMail =
  | { readonly kind: "inline"; readonly bytes: Uint8Array }
  | { readonly kind: "file"; readonly path: string };

/** A mail received in full; `body` as a file is already flushed to disk. */
export type ReceivedMail = {
  /** UUIDv7: sorts by time. */
  readonly id: string;
  /** Milliseconds since 1970. */
  readonly receivedAt: number;
  readonly envelope: Envelope;
  /** Bytes. */
  readonly size: number;
  /** Hex. */
  readonly sha256: string;
  readonly body: RawMail;
};
