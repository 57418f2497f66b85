/**
 * What is allowed in a configuration and still deserves a second look. Pure: no file, no network.
 */
import { isLoopback, readControlAddress, readHostPort } from "./address.ts";
import type { Path } from "./problem.ts";
import type { Config } from "./schema.ts";
import { ruleAdvice } from "./sections/rules.ts";

export type Advice = { readonly path: Path; readonly message: string };

/** The section itself, and each further analyzer. */
function connections({ vmray }: Config) {
  const further = vmray.analyzers.map((connection, index) => ({
    path: ["vmray", "analyzers", index] as Path,
    connection,
  }));
  return [{ path: ["vmray"] as Path, connection: vmray }, ...further];
}

/** @param fromEnvironment whether a value came from the environment and not from the file itself */
export function adviceOn(config: Config, fromEnvironment: (path: Path) => boolean): readonly Advice[] {
  const advice: Advice[] = [];
  const advise = (path: Path, message: string): void => {
    advice.push({ path, message });
  };

  for (const { path, connection } of connections(config)) {
    const server = new URL(connection.url);
    if (server.protocol === "http:" && !isLoopback(server.hostname.replace(/^\[|\]$/g, ""))) {
      advise([...path, "url"], "the API key and all samples cross the network unencrypted: use https");
    }
    if (!connection.tls_verify && server.protocol === "https:") {
      advise([...path, "tls_verify"], "anyone in between can pose as the VMRay server: use ca_file instead");
    }
    const proxy = connection.proxy === undefined ? null : new URL(connection.proxy);
    if (proxy !== null && proxy.password !== "" && !fromEnvironment([...path, "proxy"])) {
      advise([...path, "proxy"], "a secret in the configuration itself: better in proxy_password_file");
    }
    const inlineKey: Path = [...path, "api_key"];
    if (connection.api_key !== undefined && !fromEnvironment(inlineKey)) {
      advise(inlineKey, "a secret in the configuration itself: better in a file, with api_key_file");
    }
  }
  for (const [index, network] of config.smtp.networks.entries()) {
    if (network.endsWith("/0")) advise(["smtp", "networks", index], "any host may send mails to this sensor");
  }
  const outside = config.smtp.listen.some((address) => {
    const result = readHostPort(address);
    return "host" in result && !isLoopback(result.host);
  });
  if (outside && config.smtp.networks.every((network) => /^(127\.|::1\/128$)/.test(network))) {
    advise(["smtp", "networks"], "only this machine may send mails, though other hosts can connect");
  }
  const control = readControlAddress(config.control.listen);
  if ("host" in control && config.control.token_file === undefined) {
    advise(["control", "listen"], "every user of this machine can steer the sensor: set token_file");
  }
  if ("host" in control && !isLoopback(control.host)) {
    advise(["control", "listen"], "the token crosses the network unencrypted: keep to a trusted network");
  }
  for (const [index, { tls, https }] of config.siem.entries()) {
    const target = https === undefined ? null : new URL(https.url);
    const plain = target?.protocol === "http:";
    if (plain && !isLoopback(target.hostname.replace(/^\[|\]$/g, ""))) {
      advise(
        ["siem", index, "https", "url"],
        "events, and the token, cross the network unencrypted: use https://",
      );
    }
    if (tls?.verify === false && !plain) {
      advise(
        ["siem", index, "tls", "verify"],
        "anyone in between can pose as the receiver, read events and drop them: use ca_file instead",
      );
    }
  }
  for (const [index, alert] of config.alerts.entries()) {
    if (alert.domains.length > 0 && !alert.to_recipients) {
      advise(["alerts", index, "domains"], "has no effect without to_recipients: true");
    }
  }
  for (const [index, rule] of config.triage.rules.entries()) {
    for (const { path, message } of ruleAdvice(rule)) advise(["triage", "rules", index, ...path], message);
  }
  return advice;
}
