/**
 * The SMTP dialogue of smtp-server, in a few points as a trusted MTA needs it:
 *
 * - it greets at once: the library waits 100 ms to catch bots that talk too soon;
 * - it takes every address an MTA may hand over (quoted local parts with spaces or @, domains with a trailing
 *   dot), exactly as written: refusing one would make the MTA bounce a copy.
 */

import type { Socket } from "node:net";
import { SMTPServer, type SMTPServerOptions } from "smtp-server";
import { SMTPConnection, type SMTPConnectionOptions } from "smtp-server/lib/smtp-connection.js";

/** RFC 5321 section 4.5.3.1.3 allows 256 octets; SMTPUTF8 and sloppy systems get some room. */
const MAX_ADDRESS = 1024;
const ADDRESS_COMMAND = /^(MAIL FROM|RCPT TO)\s*:\s*<((?:"(?:[^"\\]|\\.)*"|[^<>"\s])*)>(.*)$/is;
// A bare word before the address: some clients leave the brackets out.
const BARE_ADDRESS = /^(MAIL FROM|RCPT TO)\s*:\s*([^<>\s"]+@[^<>\s"]+)(.*)$/is;
const SOURCE_ROUTE = /^@[^\s,:@]+(?:,@[^\s,:@]+)*:/;
const UNSAFE = /[\x00-\x1f\x7f-\x9f\u2028\u2029]/;

class CopyConnection extends SMTPConnection {
  /** True between DATA and its answer. */
  takesMail(): boolean {
    return Boolean(this._dataStream);
  }

  override init(): void {
    this._setListeners(() => {
      const { maxClients } = this._server.options;
      if (maxClients !== undefined && this._server.connections.size > maxClients) {
        this.send(421, `${this.name} too many connections, try again in a moment`, false);
        return;
      }
      this.connectionReady();
    });
  }

  /** MAIL FROM with a SIZE over the limit is answered by the library, which tells nobody. */
  override _validateMailParams(
    parsed: Parameters<SMTPConnection["_validateMailParams"]>[0],
  ): ReturnType<SMTPConnection["_validateMailParams"]> {
    const refused = super._validateMailParams(parsed);
    if (refused && refused.code === 552 && this._server instanceof CopyServer) {
      const size = typeof parsed.args === "object" ? Number(parsed.args.SIZE) : Number.NaN;
      this._server.announcedTooLarge(this.session.remoteAddress, size);
    }
    return refused;
  }

  /** A full disk is "mail system full" (RFC 3463); the library takes every 452 for a full mailbox, 4.2.2. */
  override _getEnhancedStatusCode(code: number, context?: string | false): string {
    const usual = super._getEnhancedStatusCode(code, context);
    return code === 452 && usual === "4.2.2" ? "4.3.1" : usual;
  }

  override _parseAddressCommand(
    rawName: string,
    rawCommand: Parameters<SMTPConnection["_parseAddressCommand"]>[1],
  ): ReturnType<SMTPConnection["_parseAddressCommand"]> {
    const command = rawCommand.toString();
    const match = ADDRESS_COMMAND.exec(command) ?? BARE_ADDRESS.exec(command);
    if (match === null) return false;
    const [, verb = "", written = "", parameters = ""] = match;
    const address = written.replace(SOURCE_ROUTE, "");
    if (address.length > MAX_ADDRESS || UNSAFE.test(address)) return false;
    if (/^\s*$/.test(parameters)) return { address, args: false };
    // The parameters are the library's business: it sees them behind an address it is content with.
    const parsed = super._parseAddressCommand(rawName, `${verb}:<a@a.invalid>${parameters}`);
    return parsed === false ? false : { ...parsed, address };
  }
}

/** An smtp-server whose connections are {@link CopyConnection}s. */
export class CopyServer extends SMTPServer {
  constructor(
    options: SMTPServerOptions,
    /** Called for a mail that is refused for the size it was announced with, bytes. */
    readonly announcedTooLarge: (clientIp: string, size: number) => void,
  ) {
    super(options);
  }

  /** Ends the sessions that are not in the middle of a mail; the others have the grace of `close`. */
  endIdle(): void {
    for (const connection of this.connections) {
      if (connection instanceof CopyConnection && !connection.takesMail()) {
        connection.send(421, "Server shutting down");
        connection.close();
      }
    }
  }

  override connect(socket: Socket, socketOptions?: SMTPConnectionOptions | null): void {
    const connection = new CopyConnection(this, socket, socketOptions);
    this.connections.add(connection);
    connection.on("error", (error) => this._onError(error));
    connection.on("connect", (data) => this._onClientConnect(data));
    connection.init();
  }
}

export function createCopyServer(
  options: SMTPServerOptions,
  announcedTooLarge: CopyServer["announcedTooLarge"],
): CopyServer {
  return new CopyServer(options, announcedTooLarge);
}
