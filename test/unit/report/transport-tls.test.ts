import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import type { TlsSettings } from "../../../src/report/stream.ts";
import type { Transport } from "../../../src/report/transport.ts";
import { createTcpTransport } from "../../../src/report/transport-tcp.ts";
import { until } from "../../until.ts";
import { type Certificates, makeCertificates } from "./certificates.ts";
import { type TcpPeer, tcpPeer } from "./peers.ts";

let made: Certificates;
beforeAll(() => {
  made = makeCertificates("siem.test");
});
afterAll(() => made.remove());

const closing: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

async function peer(clientCertificates = false): Promise<TcpPeer> {
  const opened = await tcpPeer(0, {
    cert: readFileSync(made.server.cert),
    key: readFileSync(made.server.key),
    ca: readFileSync(made.ca),
    requestCert: clientCertificates,
    rejectUnauthorized: clientCertificates,
  });
  closing.push(opened.close);
  return opened;
}

function transport(port: number, tls: Partial<TlsSettings>): Transport {
  const opened = createTcpTransport({
    host: "127.0.0.1",
    port,
    timeout: 20_000,
    grace: 50,
    tls: { verify: true, ...tls },
  });
  closing.push(() => opened.close());
  return opened;
}

const text = (...texts: string[]) => texts.map((one) => Buffer.from(one));

describe("syslog over TLS", () => {
  test("delivers to a receiver whose certificate has the name and the authority", async () => {
    const receiver = await peer();
    const sent = await transport(receiver.port, { ca: made.ca, serverName: "siem.test" }).send(
      text("one", "zw\u00f6lf"),
    );
    expect(sent).toEqual({ delivered: 2, fault: null });
    expect(receiver.messages).toEqual(["one", "zw\u00f6lf"]);
  });

  test("tells nothing to a receiver with another name, or of an authority unknown", async () => {
    const receiver = await peer();
    const named = await transport(receiver.port, { ca: made.ca, serverName: "other.test" }).send(text("one"));
    expect(named.fault?.message).toContain("altnames");
    const address = await transport(receiver.port, { ca: made.ca }).send(text("one"));
    expect(address.fault?.code).toBe("SIEM_UNREACHABLE");
    const unknown = await transport(receiver.port, { serverName: "siem.test" }).send(text("one"));
    expect(unknown.fault?.code).toBe("SIEM_UNREACHABLE");
    expect(receiver.messages).toEqual([]);
    const unchecked = await transport(receiver.port, { verify: false }).send(text("one"));
    expect(unchecked.fault).toBeNull();
  });

  test("shows its certificate where one is asked for, and loses nothing where it has none", async () => {
    const receiver = await peer(true);
    const trusted = { ca: made.ca, serverName: "siem.test" };
    const without = await transport(receiver.port, trusted).send(text("one"));
    expect(without).toMatchObject({ delivered: 0, fault: { code: "SIEM_UNREACHABLE" } });
    expect(
      (await transport(receiver.port, { ...trusted, ...made.client }).send(text("two"))).fault,
    ).toBeNull();
    expect(receiver.messages).toEqual(["two"]);
  });

  test("does not count what waits for a receiver that does not read, and delivers it when it reads", async () => {
    const receiver = await peer();
    receiver.pause(true);
    const big = Buffer.alloc(12 * 1024 * 1024, "x");
    let done = false;
    const sending = transport(receiver.port, { ca: made.ca, serverName: "siem.test" })
      .send([big])
      .finally(() => {
        done = true;
      });
    await until(() => receiver.connections.length === 1);
    receiver.pause(true);
    await Bun.sleep(500);
    expect(done).toBe(false);
    receiver.pause(false);
    expect(await sending).toEqual({ delivered: 1, fault: null });
    expect(receiver.messages[0]).toHaveLength(big.length);
  });

  test("ends with a fault what was cut, and says goodbye in order where it is closed", async () => {
    const receiver = await peer();
    const opened = transport(receiver.port, { ca: made.ca, serverName: "siem.test" });
    const cut = opened.send(text("one"));
    await until(() => receiver.messages.length === 1);
    receiver.cut();
    expect((await cut).delivered).toBe(0);
    expect((await opened.send(text("two"))).fault).toBeNull();
    const ended = new Promise((resolve) => receiver.connections[0]?.once("end", () => resolve("end")));
    await opened.close();
    expect(await ended).toBe("end");
  });
});
