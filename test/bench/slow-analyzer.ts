/**
 * An analyzer that knows every hash and answers a look-up after 50 ms, for the benchmark of the pool. A process of its
 * own, so that its work is not counted; prints its port.
 */
const WAIT_MS = 50;

const server = Bun.serve({
  port: 0,
  hostname: "127.0.0.1",
  idleTimeout: 60,
  async fetch(request) {
    await Bun.sleep(WAIT_MS);
    const path = new URL(request.url).pathname;
    const hash = /^\/rest\/sample\/sha256\/([0-9a-f]{64})$/.exec(path)?.[1];
    if (hash === undefined)
      return Response.json({ result: "error", error_msg: "No such element" }, { status: 404 });
    const sample = { sample_id: 1, sample_sha256hash: hash, sample_verdict: "clean" };
    return Response.json({ result: "ok", data: [sample] });
  },
});
process.stdout.write(`${server.port}\n`);
