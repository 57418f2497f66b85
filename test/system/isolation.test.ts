/** What a helper of the running binary has: nothing worth stealing, and no way out. */
import { afterEach, beforeEach, expect, test } from "bun:test";
import { existsSync, readdirSync, readFileSync, readlinkSync } from "node:fs";
import { launchSensor, startAnalyzer } from "./lib/binary.ts";
import { mails } from "./lib/mails.ts";
import { openPlace, type Place, waitFor } from "./lib/place.ts";
import { sendMails } from "./lib/smtp.ts";

let place: Place;
beforeEach(() => {
  place = openPlace("isolation");
});
afterEach(() => place.close());

function childrenOf(parent: number): readonly string[] {
  return readdirSync("/proc").filter((name) => {
    if (!/^\d+$/.test(name) || !existsSync(`/proc/${name}/status`)) return false;
    return readFileSync(`/proc/${name}/status`, "utf8").includes(`\nPPid:\t${parent}\n`);
  });
}

test("a helper has its two pipes, no environment, no privileges and a filter on its system calls", async () => {
  const sensor = await launchSensor(place, { analyzer: await startAnalyzer(place) });
  await sendMails(sensor.smtpPort, mails(20, 5), { connections: 4 });
  await waitFor("mails taken apart", () =>
    sensor.log().filter(({ msg }) => msg === "mail taken apart").length === 20 ? true : undefined,
  );
  const helpers = childrenOf(sensor.pid());
  expect(helpers).not.toEqual([]);
  for (const pid of helpers) {
    const status = readFileSync(`/proc/${pid}/status`, "utf8");
    expect(status).toMatch(/^NoNewPrivs:\t1$/m);
    expect(status).toMatch(/^Seccomp:\t2$/m);
    expect(readFileSync(`/proc/${pid}/environ`, "utf8")).toBe("");
    expect(readlinkSync(`/proc/${pid}/cwd`)).toBe("/");
    // proc(5): the 19th field is the nice value.
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    expect(Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[16])).toBeGreaterThanOrEqual(10);
    const open = readdirSync(`/proc/${pid}/fd`).map((descriptor) =>
      readlinkSync(`/proc/${pid}/fd/${descriptor}`),
    );
    const own = new Set([readlinkSync(`/proc/${pid}/fd/0`), readlinkSync(`/proc/${pid}/fd/1`)]);
    const other = open.filter(
      (target) => !own.has(target) && target !== "/dev/null" && !target.startsWith("anon_inode:"),
    );
    expect(other).toEqual([]);
  }
  expect(sensor.log().filter(({ msg }) => String(msg).includes("seccomp"))).toEqual([]);
});
