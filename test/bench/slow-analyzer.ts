/**
 * An analyzer that knows no hash, so that a look-up is one call, and answers it after 50 ms, for the benchmark of the
 * pool. A process of its own, so that its work is not counted; prints its port.
 */
const WAIT_MS = 50;

const server = Bun.serve({
  port: 0,
  hostname: "127.0.0.1",
  idleTimeout: 60,
  async fetch(request) {
    await Bun.sleep(WAIT_MS);
    const path = new URL(request.url).pathname;
    if (!/^\/rest\/sample\/sha256\/[0-9a-f]{64}$/.test(path))
      return Response.json({ result: "error", error_msg: "No such element" }, { status: 404 });
    return Response.json({ result: "ok", data: [] });
  },
});
process.stdout.write(`${server.port}\n`);
