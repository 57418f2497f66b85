/**
 * The way to one VMRay server: its address, TLS in both directions, and a proxy.
 *
 * Takes the keys of the configuration, gives a fetch that keeps its connections. Without `proxy` those of the
 * environment apply; a server in `no_proxy` is reached without any.
 */
import { readFileSync } from "node:fs";
import { isIP } from "node:net";
import { getCACertificates } from "node:tls";
import { domainToASCII } from "node:url";
import { readDirectHost, readProxyUrl, readServerUrl } from "../config/address.ts";
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
  /** What keeps VMRay from being reached, in words, with the proxy on the way to it. */
  readonly explain: (thrown: unknown) => string;
};

export type Environment = Readonly<Record<string, string | undefined>>;

/** `variable`: the one of the environment that names it, null for `vmray.proxy`. */
export type Proxy = { readonly url: string; readonly host: string; readonly variable: string | null };

const IDLE_SECONDS = 20;
/** As curl reads them, by the scheme of the server: the first that is set counts. */
const PROXY_VARIABLES = {
  "https:": ["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"],
  "http:": ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"],
} as const;
const PORTS = { "https:": "443", "http:": "80" } as const;

/** Throws SensorError CONFIG_INVALID where the address, a proxy or a file cannot be used; makes no call. */
export function createConnection(
  settings: ConnectionSettings,
  environment: Environment = process.env,
): Connection {
  const base = apiBase(settings.url);
  const proxy = proxyOf(settings, environment);
  const { ca_file, client_cert_file, client_key_file } = settings;
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
    // What the environment says is decided here, so that the log can tell.
    proxy: proxy === null ? false : { url: proxy.url, respectNoProxy: false },
    // Shorter than servers keep theirs, so that a POST seldom meets a connection that is just being closed.
    keepAlive: { idleTimeout: IDLE_SECONDS },
  });
  const way = wayOver(proxy);
  return {
    base,
    fetch: session.fetch,
    explain(thrown) {
      const certified = client_cert_file !== undefined && codeOf(thrown) === "ECONNRESET";
      const doubt = certified ? "; where it always is, VMRay may not take client_cert_file" : "";
      return `VMRay cannot be reached${way}: ${connectionFault(thrown)}${doubt}`;
    },
  };
}

function wayOver(proxy: Proxy | null): string {
  if (proxy === null) return "";
  const { host, variable } = proxy;
  return ` through the proxy ${host}${variable === null ? "" : ` (${variable} of the environment)`}`;
}

function codeOf(thrown: unknown): string {
  return thrown instanceof Error && "code" in thrown ? String(thrown.code) : "";
}

/** Any spelling people use for the server ("host", "https://host/", "https://host/rest/") as one. */
function apiBase(url: string): string {
  const base = readServerUrl(url);
  if (typeof base === "string") return base;
  throw new SensorError("CONFIG_INVALID", `vmray.url ${base.problem}`);
}

/**
 * The proxy on the way to the server, null where there is none. Throws SensorError CONFIG_INVALID where the environment
 * names one that cannot be used.
 */
export function proxyOf(
  { url, proxy, no_proxy }: Pick<ConnectionSettings, "url" | "proxy" | "no_proxy">,
  environment: Environment = process.env,
): Proxy | null {
  const server = new URL(apiBase(url));
  if (isDirect(server.hostname, no_proxy)) return null;
  if (proxy !== undefined) return { url: proxy, host: new URL(proxy).host, variable: null };
  const scheme = server.protocol === "https:" ? "https:" : "http:";
  const variable = PROXY_VARIABLES[scheme].find((name) => (environment[name] ?? "") !== "");
  if (variable === undefined) return null;
  const excepted = environment.no_proxy ?? environment.NO_PROXY ?? "";
  const port = server.port === "" ? PORTS[scheme] : server.port;
  if (excepted.split(/[\s,]+/).some((entry) => isExcepted(server.hostname, port, entry))) return null;
  const read = readProxyUrl(environment[variable] ?? "");
  if (typeof read === "string") return { url: read, host: new URL(read).host, variable };
  throw new SensorError(
    "CONFIG_INVALID",
    `${variable} of the environment ${read.problem} (vmray.proxy takes its place, vmray.no_proxy goes without)`,
  );
}

/** An entry of NO_PROXY: a host with all below it, an address or a network, each perhaps with a port, or `*`. */
function isExcepted(hostname: string, port: string, entry: string): boolean {
  if (entry === "*") return true;
  const [, host = entry, only = port] = /^(\[[^\]]*\]|[^:]*):(\d{1,5})$/.exec(entry) ?? [];
  const read = readDirectHost(host.replace(/^\[|\]$/g, ""));
  return typeof read === "string" && only === port && isDirect(hostname, [read]);
}

/** True where the host is, or lies below, one of the domains, or is an address in one of the networks. */
export function isDirect(hostname: string, hosts: readonly string[]): boolean {
  const host = domainToASCII(hostname.replace(/\.$/, "")).replace(/^\[|\]$/g, "");
  if (isIP(host) !== 0)
    return networkTest(hosts.filter((each) => isIP(each.split("/")[0] ?? "") !== 0))(host);
  return hosts.map(domainToASCII).some((each) => each !== "" && (host === each || host.endsWith(`.${each}`)));
}

function readPem(name: string, path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (cause) {
    throw new SensorError("CONFIG_INVALID", `vmray.${name} cannot be read: ${path}`, { cause });
  }
}

/** What a code of the runtime means, and what to do; the runtime's own words are for programmers. */
const WORDS: Readonly<Record<string, string>> = {
  ECONNREFUSED: "nothing takes connections there (refused)",
  ENOTFOUND: "its host name has no address (DNS)",
  ECONNRESET: "the connection was closed before the answer was complete",
  EPROTO:
    "no TLS could be agreed on: it wants a client certificate (client_cert_file), or speaks no TLS 1.2 or later",
  ERR_TLS_CERT_ALTNAME_INVALID: "its certificate is for another host name",
  CERT_HAS_EXPIRED: "its certificate has expired, or the clock here is wrong",
  CERT_NOT_YET_VALID: "its certificate is not valid yet, or the clock here is wrong",
  FailedToOpenSocket: "no socket can be opened: too many are, or a certificate or key cannot be used",
};

/** The certificate leads to nobody who is trusted. */
const NOT_TRUSTED = new Set([
  "DEPTH_ZERO_SELF_SIGNED_CERT",
  "SELF_SIGNED_CERT_IN_CHAIN",
  "UNABLE_TO_GET_ISSUER_CERT",
  "UNABLE_TO_GET_ISSUER_CERT_LOCALLY",
  "UNABLE_TO_VERIFY_LEAF_SIGNATURE",
]);

function connectionFault(thrown: unknown): string {
  if (!(thrown instanceof Error)) return String(thrown);
  const code = codeOf(thrown);
  const known = WORDS[code];
  if (known !== undefined) return known;
  if (NOT_TRUSTED.has(code))
    return `its certificate is not trusted (${thrown.message}): ca_file takes that of its authority`;
  if (code === "ERR_PROXY_TUNNEL" && thrown.message.includes("407"))
    return "it wants another user or password (407)";
  if (code === "ERR_PROXY_TUNNEL") return thrown.message.replace(/^Proxy /, "it ");
  // A name of the runtime's for what is wrong with the answer, like Malformed_HTTP_Response.
  if (code !== "" && thrown.message.startsWith(`${code} fetching `))
    return `what answers there speaks broken HTTP, or none (${code})`;
  return thrown.message.replace(/\.? For more information, pass `verbose: true`.*$/s, "");
}
