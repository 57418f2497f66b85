/**
 * install.sh does what it says, on a scratch copy of this system: a throw-away layer over the root file system, with
 * processes, mounts and network of its own. A stand-in for systemctl starts the unit's ExecStart as the unit's user.
 */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { chmodSync, copyFileSync, existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { binaryPath } from "./lib/binary.ts";
import { needProgram, openPlace, type Place, runToEnd } from "./lib/place.ts";

const CHECKOUT = join(import.meta.dir, "../..");
const RELEASED = [
  "install.sh",
  "sensor.example.yaml",
  "packaging/email-sensor.service",
  "LICENSE",
  "THIRD-PARTY-NOTICES.md",
];

const SYSTEMCTL = `#!/bin/bash
echo "systemctl $*" >>/run/systemctl.log
unit=/etc/systemd/system/email-sensor.service
stop() {
  if [ ! -f /run/email-sensor.pid ]; then return; fi
  pid=$(cat /run/email-sensor.pid)
  kill "$pid"
  for i in $(seq 900); do if kill -0 "$pid" 2>/dev/null; then sleep 0.1; fi; done
  rm /run/email-sensor.pid
}
case "$1" in
  restart)
    stop
    install -d -m 0750 -o email-sensor -g email-sensor /run/email-sensor
    user=$(sed -n 's/^User=//p' $unit)
    command=$(sed -n 's/^ExecStart=//p' $unit)
    setsid setpriv --reuid "$user" --regid "$user" --clear-groups $command >/run/sensor.log 2>&1 </dev/null &
    echo $! >/run/email-sensor.pid
    ;;
  disable) stop ;;
esac
`;

let place: Place;
/** An unpacked release. */
let release: string;

beforeEach(() => {
  place = openPlace("install");
  release = join(place.path, "release");
  mkdirSync(join(release, "packaging"), { recursive: true });
  copyFileSync(binaryPath(), join(release, "email-sensor"));
  for (const file of RELEASED) copyFileSync(join(CHECKOUT, file), join(release, file));
});
afterEach(() => place.close());

/** Runs a shell script as root of the scratch system; `$RELEASE` is the unpacked release. */
async function inScratchSystem(script: string, options: { readonly systemd: boolean }) {
  const [layer, bin] = [join(place.path, "layer"), join(place.path, "bin")];
  for (const path of [layer, bin]) mkdirSync(path);
  writeFileSync(join(bin, "systemctl"), SYSTEMCTL);
  writeFileSync(join(place.path, "script"), `set -eu\n${script}\n`);
  chmodSync(join(bin, "systemctl"), 0o755);
  const setUp = `set -eu
mount -t tmpfs tmpfs ${layer}
mkdir ${layer}/up ${layer}/work ${layer}/root
mount -t overlay overlay -o lowerdir=/,upperdir=${layer}/up,workdir=${layer}/work ${layer}/root
mount -t proc proc ${layer}/root/proc
mount --rbind /dev ${layer}/root/dev
mount -t tmpfs tmpfs ${layer}/root/run
${options.systemd ? `mkdir -p ${layer}/root/run/systemd/system` : ""}
${needProgram("ip", "iproute2")} link set lo up
exec chroot ${layer}/root bash ${place.path}/script
`;
  return runToEnd(
    [
      ...[needProgram("unshare", "util-linux"), "--mount", "--net", "--pid", "--fork", "--kill-child"],
      ...["--propagation", "private", "bash", "-c", setUp],
    ],
    {
      cwd: "/",
      seconds: 300,
      env: {
        RELEASE: release,
        VMRAY_API_KEY: "a-secret-key",
        PATH: `${bin}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin`,
      },
    },
  );
}

const INSTALL = '"$RELEASE/install.sh" --unattended --vmray-url https://vmray.example';

describe("install.sh", () => {
  test("installs, starts, waits for the greeting, and says what to add to Postfix", async () => {
    const ran = await inScratchSystem(
      `${INSTALL}
       echo "--- state"
       stat -c '%a %U:%G %n' /etc/email-sensor /etc/email-sensor/* /var/lib/email-sensor /usr/local/bin/email-sensor \\
         /usr/local/share/doc/email-sensor/*
       cat /etc/email-sensor/vmray.key
       cat /run/systemctl.log
       (exec 3<>/dev/tcp/127.0.0.1/10025; head -c 3 <&3; echo)`,
      { systemd: true },
    );
    expect(ran.stderr).toBe("");
    const [said = "", state = ""] = ran.stdout.split("--- state\n");
    expect(said).toContain("the sensor is running\n");
    expect(said).toContain("smtp:[127.0.0.1]:10025");
    expect(said).toContain("always_bcc = ");
    expect(said).toContain("recipient_bcc_maps = ");
    expect(said).not.toContain("a-secret-key");
    expect(state.split("\n")).toEqual([
      "750 root:email-sensor /etc/email-sensor",
      "640 root:email-sensor /etc/email-sensor/sensor.yaml",
      "640 root:email-sensor /etc/email-sensor/vmray.key",
      "750 email-sensor:email-sensor /var/lib/email-sensor",
      "755 root:root /usr/local/bin/email-sensor",
      "644 root:root /usr/local/share/doc/email-sensor/LICENSE",
      "644 root:root /usr/local/share/doc/email-sensor/THIRD-PARTY-NOTICES.md",
      "a-secret-key",
      "systemctl daemon-reload",
      "systemctl enable email-sensor.service",
      "systemctl restart email-sensor.service",
      "220",
      "",
    ]);
  });

  test("run again it upgrades, and keeps the configuration and the spool", async () => {
    const ran = await inScratchSystem(
      `${INSTALL} >/dev/null
       sed -i '/^smtp:/,/^spool:/s/^  #listen: .*/  listen: ["[::1]:10125"]/' /etc/email-sensor/sensor.yaml
       sum=$(sha256sum /etc/email-sensor/*)
       echo old >/usr/local/bin/email-sensor.test; mv -f /usr/local/bin/email-sensor.test /usr/local/bin/email-sensor
       touch /var/lib/email-sensor/kept
       env -u VMRAY_API_KEY "$RELEASE/install.sh" --vmray-url https://other.example
       [ "$(sha256sum /etc/email-sensor/*)" = "$sum" ]
       ls /var/lib/email-sensor/kept
       cmp "$RELEASE/email-sensor" /usr/local/bin/email-sensor`,
      { systemd: true },
    );
    expect(`${ran.code} ${ran.stderr}`).toBe("0 ");
    expect(ran.stdout).toContain("stays as it is");
    expect(ran.stdout).toContain("edit /etc/email-sensor/sensor.yaml");
    expect(ran.stdout).toContain("smtp:[::1]:10125\n");
    expect(ran.stdout).toContain("/var/lib/email-sensor/kept");
  });

  test("a configuration the new program refuses leaves the old program in place", async () => {
    const ran = await inScratchSystem(
      `${INSTALL} >/dev/null
       echo 'smtpp: {}' >>/etc/email-sensor/sensor.yaml
       printf 'the old one' >/usr/local/bin/email-sensor.test; mv -f /usr/local/bin/email-sensor.test /usr/local/bin/email-sensor
       "$RELEASE/install.sh" && exit 99
       cat /usr/local/bin/email-sensor
       [ ! -e /usr/local/bin/email-sensor.new ]`,
      { systemd: false },
    );
    expect(ran.code).toBe(0);
    expect(ran.stderr).toMatch(/sensor\.yaml:\d+:1: smtpp: /);
    expect(ran.stdout).toEndWith("the old one");
  });

  test("without systemd it installs and says how to start, and that works", async () => {
    const ran = await inScratchSystem(
      `${INSTALL} >/run/said
       grep -A 2 'to start the sensor' /run/said | tail -n 2 >/run/start
       (setsid bash /run/start >/run/log 2>&1 </dev/null &)
       for i in $(seq 600); do
         if (exec 3<>/dev/tcp/127.0.0.1/10025) 2>/dev/null; then echo it listens; exit 0; fi
         sleep 0.2
       done
       cat /run/log`,
      { systemd: false },
    );
    expect(ran).toEqual({ code: 0, stdout: "it listens\n", stderr: "" });
  });

  test("--uninstall keeps configuration and spool, --purge removes them and the account", async () => {
    const ran = await inScratchSystem(
      `${INSTALL} >/dev/null
       "$RELEASE/install.sh" --uninstall >/dev/null
       ls -d /usr/local/bin/email-sensor /etc/systemd/system/email-sensor.service /usr/local/share/doc/email-sensor \\
         2>/dev/null || true
       ls -d /etc/email-sensor/sensor.yaml /var/lib/email-sensor
       (exec 3<>/dev/tcp/127.0.0.1/10025) 2>/dev/null && echo still running
       "$RELEASE/install.sh" --uninstall --purge >/dev/null
       ls -d /etc/email-sensor /var/lib/email-sensor 2>/dev/null || true
       getent passwd email-sensor || echo no account`,
      { systemd: true },
    );
    expect(ran).toEqual({
      code: 0,
      stdout: "/etc/email-sensor/sensor.yaml\n/var/lib/email-sensor\nno account\n",
      stderr: "",
    });
  });

  test("--dry-run says each step and changes nothing", async () => {
    const ran = await inScratchSystem(
      `"$RELEASE/install.sh" --dry-run
       ls -d /usr/local/bin/email-sensor /etc/email-sensor /var/lib/email-sensor /run/systemctl.log 2>/dev/null || true
       getent passwd email-sensor || true`,
      { systemd: true },
    );
    expect(ran.stderr).toBe("");
    expect(ran.stdout).toContain("would: start of the service\n");
    expect(ran.stdout).toEndWith("Then: postfix reload\n");
  });

  test("a program that does not have its checksum is not installed", async () => {
    writeFileSync(join(release, "email-sensor.sha256"), `${"0".repeat(64)}  email-sensor\n`);
    const target = join(place.path, "image");
    const install = [join(release, "install.sh"), "--unattended", "--root", target];
    const environment = { VMRAY_URL: "https://vmray.example", VMRAY_API_KEY: "key" };
    const refused = await runToEnd(install, { env: environment });
    expect(refused.code).toBe(1);
    expect(refused.stderr).toContain("checksum");
    expect(existsSync(target)).toBe(false);
  });

  test("an address or a key that could become something else in the configuration is refused", async () => {
    const target = join(place.path, "image");
    const install = [join(release, "install.sh"), "--unattended", "--root", target];
    for (const [url, key] of [
      ["https://vmray.example/\nsmtp: {}", "key"],
      ["https://vmray.example/ #", "key"],
      ["https://vmray.example", "two words"],
      ["https://vmray.example", ""],
    ] as const) {
      const refused = await runToEnd(install, { env: { VMRAY_URL: url, VMRAY_API_KEY: key } });
      expect(refused.code).toBe(1);
      expect(existsSync(target)).toBe(false);
    }
  });

  test("bad usage says so and exits 2", async () => {
    for (const words of [["--nonsense"], ["--purge"], ["--root"]]) {
      const refused = await runToEnd([join(release, "install.sh"), ...words]);
      expect(refused.code).toBe(2);
      expect(refused.stderr).toContain("use: sudo ./install.sh");
    }
  });
});
