/**
 * As much of an HTTP/2 client (RFC 9113) as a test needs to be a gRPC client that does not read: it opens no
 * window beyond the first 65,535 bytes until told to. The client of Bun opens windows by itself.
 */
import { connect } from "node:net";

const FRAME = { data: 0, headers: 1, settings: 4, windowUpdate: 8 } as const;
const END_STREAM = 0x1;
const END_HEADERS = 0x4;

export type RawCall = {
  /** Bytes of DATA frames received so far. */
  received(): number;
  /** Opens the windows of the connection and the stream by this much. */
  grant(bytes: number): void;
  close(): void;
};

function frame(type: number, flags: number, stream: number, payload: Uint8Array): Buffer {
  const header = Buffer.alloc(9);
  header.writeUIntBE(payload.length, 0, 3);
  header.writeUInt8(type, 3);
  header.writeUInt8(flags, 4);
  header.writeUInt32BE(stream, 5);
  return Buffer.concat([header, payload]);
}

/** Header fields as HPACK literals without indexing (RFC 7541 6.2.2), each shorter than 127 bytes. */
function headerBlock(fields: Readonly<Record<string, string>>): Buffer {
  const literal = (text: string) => Buffer.concat([Buffer.of(text.length), Buffer.from(text)]);
  return Buffer.concat(
    Object.entries(fields).map(([name, value]) =>
      Buffer.concat([Buffer.of(0), literal(name), literal(value)]),
    ),
  );
}

/** Calls a method of the gRPC server on a unix socket with one request. */
export function rawCall(socketPath: string, method: string, request: Uint8Array): RawCall {
  const socket = connect(socketPath);
  let received = 0;
  let buffer = Buffer.alloc(0);
  socket.on("data", (chunk: Buffer) => {
    buffer = Buffer.concat([buffer, chunk]);
    while (buffer.length >= 9) {
      const length = buffer.readUIntBE(0, 3);
      if (buffer.length < 9 + length) break;
      if (buffer.readUInt8(3) === FRAME.data) received += length;
      buffer = buffer.subarray(9 + length);
    }
  });
  const prefix = Buffer.alloc(5);
  prefix.writeUInt32BE(request.length, 1);
  const fields = {
    ":method": "POST",
    ":scheme": "http",
    ":path": method,
    ":authority": "localhost",
    "content-type": "application/grpc",
    te: "trailers",
  };
  socket.write(
    Buffer.concat([
      Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
      frame(FRAME.settings, 0, 0, new Uint8Array()),
      frame(FRAME.headers, END_HEADERS, 1, headerBlock(fields)),
      frame(FRAME.data, END_STREAM, 1, Buffer.concat([prefix, request])),
    ]),
  );
  return {
    received: () => received,
    grant(bytes) {
      const increment = Buffer.alloc(4);
      increment.writeUInt32BE(bytes);
      for (const stream of [0, 1]) socket.write(frame(FRAME.windowUpdate, 0, stream, increment));
    },
    close: () => socket.destroy(),
  };
}
