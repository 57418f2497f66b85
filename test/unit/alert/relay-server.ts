/** A mail relay on loopback that takes or refuses what the test says. */
import { SMTPServer } from "smtp-server";

export type TakenMail = { readonly from: string; readonly to: readonly string[]; readonly text: string };

export type RelayServer = {
  readonly address: string;
  readonly taken: TakenMail[];
  /** Every RCPT seen, refused or not. */
  readonly asked: string[];
  /** The SMTP code for a recipient, with an enhanced one in front of the words where it is a text; null to take it. */
  answer: (recipient: string) => number | string | null;
  /** What becomes of a mail that is all there: taken where null, else the SMTP code, or the connection is dropped. */
  atData: (recipient: string) => Promise<number | "drop" | null>;
  close(): Promise<void>;
};

export async function relayServer(port = 0): Promise<RelayServer> {
  const taken: TakenMail[] = [];
  const asked: string[] = [];
  const relay: Pick<RelayServer, "answer" | "atData"> = { answer: () => null, atData: async () => null };
  const server = new SMTPServer({
    authOptional: true,
    disabledCommands: ["AUTH", "STARTTLS"],
    disableReverseLookup: true,
    logger: false,
    onRcptTo(address, _session, callback) {
      asked.push(address.address);
      const code = relay.answer(address.address);
      if (code === null) return callback();
      const [status, ...words] = String(code).split(" ");
      const text = [...words, "not now or never"].join(" ");
      callback(Object.assign(new Error(text), { responseCode: Number(status) }));
    },
    onData(stream, session, callback) {
      const chunks: Buffer[] = [];
      stream.on("data", (chunk: Buffer) => chunks.push(chunk));
      stream.on("end", async () => {
        const { mailFrom, rcptTo } = session.envelope;
        const code = await relay.atData(rcptTo[0]?.address ?? "");
        if (code === "drop") {
          for (const connection of server.connections) connection.close();
          return;
        }
        if (code !== null) {
          callback(Object.assign(new Error("not now or never"), { responseCode: code }));
          return;
        }
        taken.push({
          from: mailFrom === false ? "" : mailFrom.address,
          to: rcptTo.map(({ address }) => address),
          text: Buffer.concat(chunks).toString("utf8"),
        });
        callback();
      });
    },
  });
  server.on("error", () => {});
  await new Promise<void>((resolve) => server.listen(port, "127.0.0.1", () => resolve()));
  const address = server.server.address();
  if (address === null || typeof address === "string") throw new Error("no port");
  return {
    address: `127.0.0.1:${address.port}`,
    taken,
    asked,
    get answer() {
      return relay.answer;
    },
    set answer(value) {
      relay.answer = value;
    },
    get atData() {
      return relay.atData;
    },
    set atData(value) {
      relay.atData = value;
    },
    close: () => new Promise((resolve) => server.close(() => resolve())),
  };
}
