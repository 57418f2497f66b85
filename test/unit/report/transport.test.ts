import { afterEach, describe, expect, test } from "bun:test";
import { createServer } from "node:net";
import type { Transport } from "../../../src/report/transport.ts";
import { createTcpTransport, type TcpSettings } from "../../../src/report/transport-tcp.ts";
import { createUdpTransport } from "../../../src/report/transport-udp.ts";
import { addressWord, unacknowledgedBytes } from "../../../src/report/unacknowledged.ts";
import { freePort } from "../../ports.ts";
import { until } from "../../until.ts";
import { type TcpPeer, tcpPeer, udpPeer } from "./peers.ts";

const closing: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

function kept<T extends { close(): Promise<void> }>(thing: T): T {
  closing.push(() => thing.close());
  return thing;
}

const bytes = (...texts: string[]) => texts.map((text) => Buffer.from(text));

function tcp(peer: Pick<TcpPeer, "port">, change: Partial<TcpSettings> = {}): Transport {
  return kept(
    createTcpTransport({ host: "127.0.0.1", port: peer.port, timeout: 20_000, grace: 50, ...change }),
  );
}

describe("syslog over TCP", () => {
  test("counts octets, not characters, and keeps the order of the calls", async () => {
    const peer = kept(await tcpPeer());
    const transport = tcp(peer);
    const results = await Promise.all([
      transport.send(bytes("one", "zw\u00f6lf \u{1F600}")),
      transport.send(bytes("three")),
    ]);
    expect(results).toEqual([
      { delivered: 2, fault: null },
      { delivered: 1, fault: null },
    ]);
    expect(peer.messages).toEqual(["one", "zw\u00f6lf \u{1F600}", "three"]);
    expect(peer.connections).toHaveLength(1);
  });

  test("says so where nobody listens, and connects again later", async () => {
    const port = await freePort();
    const transport = tcp({ port });
    const result = await transport.send(bytes("one"));
    expect(result.delivered).toBe(0);
    expect(result.fault?.code).toBe("SIEM_UNREACHABLE");
    const peer = kept(await tcpPeer(port));
    expect(await transport.send(bytes("two"))).toEqual({ delivered: 1, fault: null });
    expect(peer.messages).toEqual(["two"]);
  });

  test("does not count as delivered what the peer's kernel has not acknowledged", async () => {
    const peer = kept(await tcpPeer());
    peer.pause(true);
    const transport = tcp(peer);
    const big = Buffer.alloc(12 * 1024 * 1024, "x");
    let done = false;
    const sending = transport.send([big]).then((result) => {
      done = true;
      return result;
    });
    await Bun.sleep(500);
    expect(done).toBe(false);
    peer.pause(false);
    expect(await sending).toEqual({ delivered: 1, fault: null });
    expect(peer.messages[0]?.length).toBe(big.length);
  });

  test("ends every open call with a fault when the connection is cut", async () => {
    const peer = kept(await tcpPeer());
    peer.pause(true);
    const transport = tcp(peer);
    const sending = [transport.send([Buffer.alloc(12 * 1024 * 1024, "x")]), transport.send(bytes("two"))];
    await until(() => peer.connections.length === 1);
    peer.cut();
    for (const { delivered, fault } of await Promise.all(sending)) {
      expect(delivered).toBe(0);
      expect(fault?.code).toBe("SIEM_UNREACHABLE");
    }
  });

  test("takes a cut within the grace period for a loss, though all was acknowledged", async () => {
    const peer = kept(await tcpPeer());
    const transport = tcp(peer, { grace: 60_000 });
    const sending = transport.send(bytes("one"));
    await until(() => peer.messages.length === 1);
    await Bun.sleep(150);
    peer.cut();
    expect((await sending).delivered).toBe(0);
  });

  test("notices a peer that only ends its side", async () => {
    const peer = kept(await tcpPeer());
    const transport = tcp(peer, { grace: 5000 });
    const sending = transport.send(bytes("one"));
    await until(() => peer.messages.length === 1);
    for (const socket of peer.connections) socket.end();
    expect((await sending).fault?.message).toContain("closed");
  });

  test("gives up on a peer that acknowledges nothing for long", async () => {
    const peer = kept(await tcpPeer());
    peer.pause(true);
    const transport = tcp(peer, { timeout: 100 });
    const { delivered, fault } = await transport.send([Buffer.alloc(12 * 1024 * 1024, "x")]);
    expect(delivered).toBe(0);
    expect(fault?.message).toContain("acknowledges nothing");
  });

  test("falls back on a grace period where acknowledgements cannot be seen", async () => {
    const peer = kept(await tcpPeer());
    const transport = tcp(peer, { unacknowledged: async () => null, blindGrace: 200 });
    const started = performance.now();
    expect(await transport.send(bytes("one"))).toEqual({ delivered: 1, fault: null });
    expect(performance.now() - started).toBeGreaterThan(190);
  });

  test("ends each message with a line feed where told so", async () => {
    const received: string[] = [];
    const server = createServer((socket) => void socket.on("data", (data) => received.push(String(data))));
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", () => resolve()));
    closing.push(() => new Promise((resolve) => server.close(() => resolve())));
    const address = server.address();
    const port = typeof address === "object" && address !== null ? address.port : 0;
    await tcp({ port }, { framing: "lf" }).send(bytes("one", "two"));
    await until(() => received.join("") === "one\ntwo\n", "both lines");
  });

  test("waits long for a peer elsewhere that reads slowly, and counts what lies beyond its buffer", async () => {
    const peer = kept(await tcpPeer());
    let inQueue = 20;
    const transport = tcp(peer, {
      farGrace: 10,
      slowGrace: 60_000,
      unacknowledged: async () => ({ bytes: inQueue, read: false }),
    });
    let early = false;
    const first = transport.send([Buffer.alloc(1000, "x")]).finally(() => {
      early = true;
    });
    await Bun.sleep(1000);
    inQueue = 0;
    await Bun.sleep(400);
    expect(early).toBe(false);
    const second = transport.send([Buffer.alloc(9 * 1024 * 1024, "x")]);
    expect(await first).toEqual({ delivered: 1, fault: null });
    peer.cut();
    expect((await second).delivered).toBe(0);
  });

  test("counted what lay unread at a peer elsewhere that reads slowly when the sensor stopped", async () => {
    const peer = kept(await tcpPeer());
    let inQueue = 20;
    let looks = 0;
    const transport = tcp(peer, {
      timeout: 3000,
      farGrace: 10,
      unacknowledged: async () => {
        looks += 1;
        return { bytes: inQueue, read: false };
      },
    });
    const sending = transport.send(bytes("one"));
    await until(() => looks > 20);
    inQueue = 0;
    await transport.close();
    expect(await sending).toMatchObject({ delivered: 0, fault: { message: "the sensor stops" } });
  });

  test("took one failed look at the kernel's table for an acknowledgement", async () => {
    for (const missed of [null, { bytes: 0, read: false }]) {
      const peer = kept(await tcpPeer());
      peer.pause(true);
      let looks = 0;
      const transport = tcp(peer, {
        timeout: 10_000,
        grace: 10,
        farGrace: 10,
        unacknowledged: async (endpoints) => {
          looks += 1;
          return looks === 3 ? missed : await unacknowledgedBytes(endpoints);
        },
      });
      let done = false;
      const sending = transport.send(bytes("one")).finally(() => {
        done = true;
      });
      await until(() => looks > 8);
      expect(done).toBe(false);
      peer.pause(false);
      expect(await sending).toEqual({ delivered: 1, fault: null });
    }
  });

  test("does not count what a peer on this machine has acknowledged and not read", async () => {
    const peer = kept(await tcpPeer());
    peer.pause(true);
    const transport = tcp(peer, { farGrace: 10 });
    let done = false;
    const sending = transport.send(bytes("one")).finally(() => {
      done = true;
    });
    await Bun.sleep(700);
    expect(done).toBe(false);
    peer.pause(false);
    expect(await sending).toEqual({ delivered: 1, fault: null });
  });

  test("lets what was sent arrive when it is closed, and takes nothing more", async () => {
    const peer = kept(await tcpPeer());
    const transport = tcp(peer, { grace: 60_000 });
    const sending = transport.send(bytes("one"));
    await until(() => peer.messages.length === 1);
    await transport.close();
    expect(await sending).toEqual({ delivered: 1, fault: null });
    expect((await transport.send(bytes("two"))).fault).not.toBeNull();
  });
});

describe("the bytes a peer has not acknowledged", () => {
  test("are found in the table of the kernel, and none is known of a connection that is not there", async () => {
    const unknown = { localAddress: "127.0.0.1", localPort: 1, remoteAddress: "127.0.0.1", remotePort: 2 };
    expect(await unacknowledgedBytes(unknown)).toBeNull();
    expect(await unacknowledgedBytes({ ...unknown, localAddress: "nonsense" })).toBeNull();
    expect(await unacknowledgedBytes({ ...unknown, localAddress: "::1" })).toBeNull();
  });

  test("are looked up by addresses as the kernel writes them", () => {
    expect(addressWord("127.0.0.1")).toBe("0100007F");
    expect(addressWord("::1")).toBe("00000000000000000000000001000000");
    expect(addressWord("2001:db8::7:8")).toBe("B80D0120000000000000000008000700");
    expect(addressWord("fe80::1%eth0")).toBeNull();
  });
});

describe("syslog over UDP", () => {
  const udp = (port: number, grace = 50) =>
    kept(createUdpTransport({ host: "127.0.0.1", port, timeout: 1000, grace }));

  test("sends one datagram a message, in order", async () => {
    const peer = kept(await udpPeer());
    const transport = udp(peer.port);
    const texts = Array.from({ length: 100 }, (_, n) => `message ${n} \u00fc`);
    const results = await Promise.all([
      transport.send(bytes(...texts.slice(0, 60))),
      transport.send(bytes(...texts.slice(60))),
    ]);
    expect(results.map(({ delivered }) => delivered)).toEqual([60, 40]);
    await until(() => peer.messages.length === 100);
    expect(peer.messages).toEqual(texts);
  });

  test("is a fault where the host says that nobody listens, for every call made before it", async () => {
    const port = await freePort();
    const transport = udp(port, 3000);
    const results = await Promise.all([
      transport.send(bytes("one")),
      transport.send(bytes("two")),
      transport.send(bytes("three")),
    ]);
    for (const { delivered, fault } of results) {
      expect(delivered).toBe(0);
      expect(fault?.code).toBe("SIEM_UNREACHABLE");
    }
    const peer = kept(await udpPeer(port));
    expect(await transport.send(bytes("four"))).toEqual({ delivered: 1, fault: null });
    expect(peer.messages).toEqual(["four"]);
  });

  test("is a fault where the host has no address", async () => {
    const transport = kept(createUdpTransport({ host: "no-such-host.invalid", port: 514, timeout: 2000 }));
    expect((await transport.send(bytes("one"))).fault?.code).toBe("SIEM_UNREACHABLE");
  });
});
