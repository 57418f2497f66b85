import { afterEach, describe, expect, test } from "bun:test";
import { SensorError } from "../../../src/errors.ts";
import type { Transport } from "../../../src/report/transport.ts";
import { createFailoverTransport } from "../../../src/report/transport-failover.ts";
import { createTcpTransport } from "../../../src/report/transport-tcp.ts";
import { freePort } from "../../ports.ts";
import { until } from "../../until.ts";
import { tcpPeer } from "./peers.ts";

const closing: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

const text = (...texts: string[]) => texts.map((one) => Buffer.from(one));
const tcp = (port: number) => () =>
  createTcpTransport({ host: "127.0.0.1", port, timeout: 20_000, grace: 20 });

/** Sends until it is delivered, as the delivery does. */
async function deliver(transport: Transport, ...texts: string[]): Promise<void> {
  await until(async () => (await transport.send(text(...texts))).fault === null, "the delivery");
}

describe("several addresses", () => {
  test("are tried in order, and the first is gone back to when it can be reached", async () => {
    const port = await freePort();
    const second = await tcpPeer();
    closing.push(second.close);
    const used: number[] = [];
    const transport = createFailoverTransport([tcp(port), tcp(second.port)], {
      returnAfter: 50,
      onChange: (index) => used.push(index),
    });
    closing.push(() => transport.close());
    await deliver(transport, "one");
    expect(second.messages).toEqual(["one"]);
    const first = await tcpPeer(port);
    closing.push(first.close);
    await until(() => used.at(-1) === 0);
    await deliver(transport, "two");
    expect(first.messages).toEqual(["two"]);
    expect(used).toEqual([1, 0]);
  });

  test("are not left again and again for a first one that can be reached and takes nothing", async () => {
    let gone = 0;
    let hangs = true;
    const first = (): Transport => ({
      send: async () => {
        if (!hangs) return { delivered: 1, fault: null };
        await Bun.sleep(10);
        gone += 1;
        return { delivered: 0, fault: new SensorError("SIEM_UNREACHABLE", "the receiver answers nothing") };
      },
      reach: async () => true,
      close: async () => {},
    });
    const second = (): Transport => ({
      send: async () => ({ delivered: 1, fault: null }),
      close: async () => {},
    });
    const used: number[] = [];
    const options = { returnAfter: 40, onChange: (index: number) => void used.push(index) };
    const transport = createFailoverTransport([first, second], options);
    closing.push(() => transport.close());
    const begun = performance.now();
    let seconds = 0;
    for (; seconds < 1 || gone < 3; await Bun.sleep(5)) {
      await transport.send(text("x"));
      seconds = (performance.now() - begun) / 1000;
    }
    // At 0, 40, 120, 280 and 600 ms, and not each 40.
    expect(gone).toBeLessThan(4 + Math.log2(seconds / 0.04));
    hangs = false;
    await until(() => used.at(-1) === 0);
    await transport.send(text("x"));
    await Bun.sleep(50);
    expect(used.at(-1)).toBe(0);
  });

  test("are gone through in a circle, so that one that is back is found", async () => {
    const ports = [await freePort(), await freePort()];
    const transport = createFailoverTransport(ports.map(tcp), { returnAfter: 60_000 });
    closing.push(() => transport.close());
    for (let tries = 0; tries < 5; tries += 1) expect((await transport.send(text("x"))).fault).not.toBeNull();
    const first = await tcpPeer(ports[0]);
    closing.push(first.close);
    await deliver(transport, "one");
    expect(first.messages).toEqual(["one"]);
  });
});
