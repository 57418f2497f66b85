import { afterEach, describe, expect, test } from "bun:test";
import { createServer, type Socket } from "node:net";
import type { Transport } from "../../../src/report/transport.ts";
import { createRelpTransport, relpFrame, relpParser } from "../../../src/report/transport-relp.ts";
import { freePort } from "../../ports.ts";
import { until } from "../../until.ts";
import { relpPeer } from "./peers.ts";

const closing: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

function kept<T extends { close(): Promise<void> }>(thing: T): T {
  closing.push(() => thing.close());
  return thing;
}

const relp = (port: number, timeout = 20_000): Transport =>
  kept(createRelpTransport({ host: "127.0.0.1", port, timeout }));
const text = (...texts: string[]) => texts.map((one) => Buffer.from(one));
const numbered = (count: number, from = 0) =>
  Array.from({ length: count }, (_, n) => `message ${from + n} \u00fc`);

/** A server that speaks something else; gives its port. */
async function server(speak: (socket: Socket) => void): Promise<number> {
  const sockets: Socket[] = [];
  const listening = createServer((socket) => {
    sockets.push(socket);
    socket.on("error", () => {});
    socket.resume();
    speak(socket);
  });
  await new Promise<void>((resolve) => listening.listen(0, "127.0.0.1", () => resolve()));
  closing.push(async () => {
    for (const socket of sockets) socket.destroy();
    await new Promise((resolve) => listening.close(resolve));
  });
  const address = listening.address();
  return typeof address === "object" && address !== null ? address.port : 0;
}

describe("syslog over RELP", () => {
  test("delivers in order what the receiver answers, far beyond the window", async () => {
    const peer = kept(await relpPeer());
    const transport = relp(peer.port);
    const results = await Promise.all([
      transport.send(text(...numbered(3000))),
      transport.send(text(...numbered(500, 3000))),
    ]);
    expect(results).toEqual([
      { delivered: 3000, fault: null },
      { delivered: 500, fault: null },
    ]);
    expect(peer.messages).toEqual(numbered(3500));
  });

  test("counts nothing as delivered that is not answered, and what was answered before a cut", async () => {
    const peer = kept(await relpPeer());
    const transport = relp(peer.port);
    await transport.send(text("first"));
    peer.mute = true;
    let done = false;
    const sending = transport.send(text("one", "two")).finally(() => {
      done = true;
    });
    await Bun.sleep(300);
    expect(done).toBe(false);
    peer.cut();
    expect(await sending).toMatchObject({ delivered: 0, fault: { code: "SIEM_UNREACHABLE" } });
    peer.mute = false;
    expect((await transport.send(text("one", "two"))).fault).toBeNull();
    expect(peer.messages).toEqual(["first", "one", "two"]);
  });

  test("takes a receiver that answers nothing for long for dead", async () => {
    const peer = kept(await relpPeer());
    const transport = relp(peer.port, 100);
    await transport.send(text("first"));
    peer.mute = true;
    expect((await transport.send(text("one"))).fault?.message).toContain("answers nothing");
  });

  test("keeps what the receiver refuses", async () => {
    const peer = kept(await relpPeer());
    peer.refusal = "500 no space";
    const { delivered, fault, doubt } = await relp(peer.port).send(text("one"));
    const message = "the receiver refused a message: 500 no space";
    expect([delivered, fault?.message, doubt]).toEqual([0, message, "500 no space"]);
  });

  test("gives one message up that is refused while others are taken, and sends none of them twice", async () => {
    const peer = kept(await relpPeer());
    Object.assign(peer, { refusal: "500 message refused", poison: "bad" });
    const transport = relp(peer.port);
    const [first, second] = await Promise.all([
      transport.send(text("one", "bad", "two")),
      transport.send(text("three")),
    ]);
    expect(first).toEqual({
      delivered: 3,
      fault: null,
      refused: [{ index: 1, reason: "500 message refused" }],
    });
    expect(second).toEqual({ delivered: 1, fault: null });
    expect(peer.messages).toEqual(["one", "two", "three"]);
    // Nothing else was taken after it: that may be the receiver.
    const { delivered, fault } = await transport.send(text("four", "bad"));
    expect([delivered, fault?.message]).toEqual([1, "the receiver refused a message: 500 message refused"]);
  });

  test("sends what is refused for a moment until it is taken", async () => {
    const peer = kept(await relpPeer());
    Object.assign(peer, { refusal: "500 busy", poison: "big" });
    const sending = relp(peer.port).send(text("big", "small"));
    await until(() => peer.messages.length === 1);
    await Bun.sleep(400);
    peer.refusal = null;
    expect(await sending).toEqual({ delivered: 2, fault: null });
    expect(peer.messages).toEqual(["small", "big"]);
  });

  test("does not speak to what is no RELP receiver for syslog", async () => {
    expect((await relp(await freePort()).send(text("one"))).fault?.code).toBe("SIEM_UNREACHABLE");
    const silent = await server(() => {});
    expect((await relp(silent, 200).send(text("one"))).fault?.message).toContain("RELP open");
    const other = kept(await relpPeer(0, "commands=eventlog"));
    expect((await relp(other.port).send(text("one"))).fault?.message).toContain("no syslog");
    const web = await server((socket) => void socket.end("HTTP/1.1 400 Bad Request\r\n\r\n".repeat(10)));
    expect((await relp(web).send(text("one"))).fault?.code).toBe("SIEM_UNREACHABLE");
  });

  test("lets what was sent be answered when it is closed, and closes the session", async () => {
    const peer = kept(await relpPeer());
    const transport = relp(peer.port);
    const sending = transport.send(text("one"));
    await until(() => peer.messages.length === 1);
    await transport.close();
    expect(await sending).toEqual({ delivered: 1, fault: null });
    expect((await transport.send(text("two"))).fault).not.toBeNull();
  });
});

describe("RELP frames", () => {
  test("are read whole, however they are torn", () => {
    const stream = Buffer.concat([
      relpFrame(1, "rsp", Buffer.from("200 OK\nrelp_version=0")),
      Buffer.from("2 rsp 0\n3 rsp 6 200 OK\n0 serverclose 0\n"),
    ]);
    for (const size of [1, 7, stream.length]) {
      const parse = relpParser();
      const answers = [];
      for (let at = 0; at < stream.length; at += size) answers.push(...parse(stream.subarray(at, at + size)));
      expect(answers.map(({ txnr, command, data }) => [txnr, command, data])).toEqual([
        [1, "rsp", "200 OK\nrelp_version=0"],
        [2, "rsp", ""],
        [3, "rsp", "200 OK"],
        [0, "serverclose", ""],
      ]);
    }
  });

  test("that are none are refused, and so is an answer without end", () => {
    expect(() => relpParser()(Buffer.alloc(100, "x"))).toThrow("does not speak RELP");
    expect(() => relpParser()(Buffer.from("1 rsp 999999999 x"))).toThrow("too long");
    expect(() => relpParser()(Buffer.from("1 rsp 2 okX"))).toThrow("does not speak RELP");
  });
});
