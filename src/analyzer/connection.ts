/**
 * The way to one VMRay server: its address, TLS in both directions, and a proxy.
 *
 * Takes the keys of the configuration, gives a fetch that keeps its connections. Without `proxy` those of the
 * environment apply (HTTPS_PROXY, NO_PROXY); a server in `no_proxy` is reached without any.
 */
import { readFileSync } from "node:fs";
import { isIP } from "node:net";
import { getCACertificates } from "node:tls";
import type { Config } from "../config/schema.ts";
import { SensorError } from "../errors.ts";
import { networkTest } from "../intake/networks.ts";

export type ConnectionSettings = Pick<
  Config["vmray"],
  "url" | "ca_file" | "tls_verify" | "client_cert_file" | "client_key_file" | "proxy" | "no_proxy"
>;

export type Connection = {
  /** What the path of a call comes behind: no slash and no `/rest` at its end. */
  readonly base: string;
  readonly fetch: Bun.FetchSession["fetch"];
  /** Words for what lies between, like " through the proxy HOST:PORT"; empty where nothing does. */
  readonly way: string;
};

const IDLE_SECONDS = 20;

/** Throws SensorError CONFIG_INVALID where the address or a file cannot be used; makes no call. */
export function createConnection(settings: ConnectionSettings): Connection {
  const base = apiBase(settings.url);
  const { hostname } = new URL(base);
  const direct = isDirect(hostname, settings.no_proxy);
  const { proxy, ca_file, client_cert_file, client_key_file } = settings;
  const session = new Bun.FetchSession({
    tls: {
      rejectUnauthorized: settings.tls_verify,
      ...(ca_file === undefined
        ? {}
        : { ca: [...getCACertificates("default"), readPem("ca_file", ca_file)] }),
      ...(client_cert_file === undefined || client_key_file === undefined
        ? {}
        : {
            cert: readPem("client_cert_file", client_cert_file),
            key: readPem("client_key_file", client_key_file),
          }),
    },
    ...(direct
      ? { proxy: false }
      : proxy === undefined
        ? {}
        : { proxy: { url: proxy, respectNoProxy: false } }),
    // Shorter than servers keep theirs, so that a POST seldom meets a connection that is just being closed.
    keepAlive: { idleTimeout: IDLE_SECONDS },
  });
  const way = direct || proxy === undefined ? "" : ` through the proxy ${new URL(proxy).host}`;
  return { base, fetch: session.fetch, way };
}

/** Any spelling people use for the server ("host", "https://host/", "https://host/rest/") as one. */
function apiBase(url: string): string {
  const text = /^[a-z][a-z0-9+.-]*:\/\//i.test(url.trim()) ? url.trim() : `https://${url.trim()}`;
  const wrong = (why: string) => new SensorError("CONFIG_INVALID", `vmray.url ${why}`);
  if (!URL.canParse(text)) throw wrong("is not a URL");
  const parsed = new URL(text);
  if (parsed.protocol !== "https:" && parsed.protocol !== "http:")
    throw wrong("must begin with https:// or http://");
  if (parsed.username !== "" || parsed.password !== "") throw wrong("must not hold a user name or password");
  if (parsed.search !== "" || parsed.hash !== "") throw wrong("must end with the host or a path");
  const path = parsed.pathname.replace(/\/+$/, "").replace(/\/rest$/, "");
  return `${parsed.origin}${path}`;
}

/** True where the host is, or lies below, one of the domains, or is an address in one of the networks. */
export function isDirect(hostname: string, hosts: readonly string[]): boolean {
  const host = hostname.replace(/^\[|\]$/g, "").toLowerCase();
  if (isIP(host) !== 0)
    return networkTest(hosts.filter((each) => isIP(each.split("/")[0] ?? "") !== 0))(host);
  return hosts.some((each) => host === each || host.endsWith(`.${each}`));
}

function readPem(name: string, path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (cause) {
    throw new SensorError("CONFIG_INVALID", `vmray.${name} cannot be read: ${path}`, { cause });
  }
}

/** What went wrong on the way, in words. */
export function connectionFault(thrown: unknown): string {
  if (!(thrown instanceof Error)) return String(thrown);
  const code = "code" in thrown ? String(thrown.code) : "";
  switch (code) {
    case "ERR_PROXY_TUNNEL":
      return thrown.message.includes("407")
        ? "it wants another user or password (407)"
        : thrown.message.replace(/^Proxy /, "it ");
    case "EPROTO":
      return "the TLS handshake failed; the server may want a client certificate (vmray.client_cert_file)";
    default:
      // The runtime adds advice for programmers.
      return thrown.message.replace(/\.? For more information, pass `verbose: true`.*$/s, "");
  }
}
