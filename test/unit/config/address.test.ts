import { describe, expect, test } from "bun:test";
import {
  isLoopback,
  readControlAddress,
  readDomain,
  readHostPort,
  readMailAddress,
  readNetwork,
  readServerUrl,
} from "../../../src/config/address.ts";
import { cpuNow } from "../extract/clock.ts";

describe("the address of the VMRay server", () => {
  test.each([
    ["https://eu.cloud.vmray.com", "https://eu.cloud.vmray.com"],
    ["eu.cloud.vmray.com/", "https://eu.cloud.vmray.com"],
    ["localhost:8080", "https://localhost:8080"],
    ["http://10.0.0.1:8080/rest", "http://10.0.0.1:8080"],
    ["https://host/vmray/rest//", "https://host/vmray"],
    ["HTTPS://Host.Example:443/REST", "https://host.example/REST"],
    ["[2001:db8::1]:8443", "https://[2001:db8::1]:8443"],
  ])("%s becomes %s", (written, read) => {
    expect(readServerUrl(written)).toBe(read);
  });

  test.each([
    "",
    "http://",
    "ftp://host",
    "https://u:p@host",
    "https://host/?a",
    "https://host/#a",
    "a b",
    "a\nb",
  ])("%j is none", (written) => {
    expect(readServerUrl(written)).toHaveProperty("problem");
  });
});

describe("HOST:PORT", () => {
  test("is taken apart", () => {
    expect(readHostPort("[::1]:25")).toEqual({ host: "::1", port: 25 });
    expect(readHostPort("host_1.example.org:65535")).toEqual({ host: "host_1.example.org", port: 65_535 });
    expect(readHostPort("127.0.0.1:0")).toEqual({ host: "127.0.0.1", port: 0 });
  });

  test.each([
    "",
    ":25",
    "host",
    "host:",
    "host:65536",
    "::1:25",
    "[::1:25",
    "[1.2.3.4]:25",
    "1.2.3:25",
    "h:1\n",
  ])("%j is none", (text) => {
    expect(readHostPort(text)).toHaveProperty("problem");
  });

  test("has no port 0 where something must be there to connect to", () => {
    expect(readHostPort("host:0", 1)).toHaveProperty("problem");
  });

  test("knows this machine", () => {
    expect(["localhost", "127.8.9.1", "::1"].every(isLoopback)).toBe(true);
    expect(["0.0.0.0", "127.example.org", "::", "10.0.0.1"].some(isLoopback)).toBe(false);
  });
});

describe("a network", () => {
  test.each([
    ["10.0.0.0/8", "10.0.0.0/8"],
    ["0.0.0.0/0", "0.0.0.0/0"],
    ["192.0.2.7", "192.0.2.7/32"],
    ["::/0", "::/0"],
    ["2001:db8:8000::/33", "2001:db8:8000::/33"],
    ["::ffff:192.0.2.0/120", "::ffff:192.0.2.0/120"],
    ["1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8/128"],
  ])("%s is %s", (text, read) => {
    expect(readNetwork(text)).toBe(read);
  });

  test.each([
    "",
    "10.0.0.1/8",
    "10.0.0.0/33",
    "10.0.0/8",
    "2001:db8:8000::/32",
    "::ffff:192.0.2.1/120",
    "::1/0",
    "::/129",
  ])("%j is none", (text) => {
    expect(readNetwork(text)).toHaveProperty("problem");
  });
});

describe("mail addresses and domains", () => {
  test.each(["a@example.org", "a.b+c@localhost", "jürgen@bücher.example"])("%s is an address", (text) => {
    expect(readMailAddress(text)).toBe(text);
  });

  test.each([
    "",
    "a",
    "@b",
    "a@",
    "A <a@b>",
    "a@b@c",
    "a b@c",
    ".a@b",
    "a@b\r\nRCPT TO:<c@d>",
    "a,b@c",
    '"a"@b',
  ])("%j is no address", (text) => {
    expect(readMailAddress(text)).toHaveProperty("problem");
  });

  test("domains are compared in lower case and have no wild cards", () => {
    expect(readDomain("Example.ORG")).toBe("example.org");
    for (const text of ["", "*.example.org", "@example.org", "a..b", ".a", "a b", "-a"]) {
      expect(readDomain(text)).toHaveProperty("problem");
    }
  });

  test("long hostile text is refused in linear time", () => {
    const started = cpuNow();
    for (const text of ["a.".repeat(500_000), "a".repeat(1_000_000), `${"a.".repeat(500_000)}@b`]) {
      expect(readMailAddress(text)).toHaveProperty("problem");
      expect(readDomain(text)).toHaveProperty("problem");
    }
    expect(cpuNow() - started).toBeLessThan(1000);
  });
});

describe("the address of the control service", () => {
  test("is a socket path or an address", () => {
    expect(readControlAddress("unix:/run/a.sock")).toEqual({ path: "/run/a.sock" });
    expect(readControlAddress("127.0.0.1:9000")).toEqual({ host: "127.0.0.1", port: 9000 });
  });

  test.each(["unix:", "unix:a.sock", `unix:/${"a".repeat(107)}`, "unix:/a\nb", "/run/a.sock", "http://a:1"])(
    "%j is none",
    (text) => {
      expect(readControlAddress(text)).toHaveProperty("problem");
    },
  );
});
