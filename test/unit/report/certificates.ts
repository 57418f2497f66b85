/** Certificates for a test, made by openssl: an authority, a server and a client it signed, and a stranger. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

export type Certificates = {
  readonly folder: string;
  /** Paths of PEM files. */
  readonly ca: string;
  readonly server: { readonly cert: string; readonly key: string };
  readonly client: { readonly cert: string; readonly key: string };
  remove(): void;
};

/** The names are the one DNS name of each certificate. */
export function makeCertificates(
  serverName: string,
  under: string = tmpdir(),
  clientName = "sensor.test",
): Certificates {
  const folder = mkdtempSync(join(under, "certificates-"));
  const path = (name: string) => join(folder, name);
  const openssl = (...args: readonly string[]) => {
    const { exitCode, stderr } = Bun.spawnSync(["openssl", ...args], { cwd: folder, stderr: "pipe" });
    if (exitCode !== 0) throw new Error(`openssl failed: ${stderr.toString()}`);
  };
  const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
  openssl(
    "req",
    "-x509",
    ...key,
    "-days",
    "2",
    "-subj",
    "/CN=test authority",
    "-keyout",
    "ca.key",
    "-out",
    "ca.pem",
  );
  const signed = (name: string, commonName: string) => {
    openssl("req", ...key, "-subj", `/CN=${commonName}`, "-keyout", `${name}.key`, "-out", `${name}.csr`);
    writeFileSync(path(`${name}.ext`), `subjectAltName=DNS:${commonName}\n`);
    openssl(
      ...["x509", "-req", "-in", `${name}.csr`, "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial"],
      ...["-days", "2", "-extfile", `${name}.ext`, "-out", `${name}.pem`],
    );
    return { cert: path(`${name}.pem`), key: path(`${name}.key`) };
  };
  return {
    folder,
    ca: path("ca.pem"),
    server: signed("server", serverName),
    client: signed("client", clientName),
    remove: () => rmSync(folder, { recursive: true, force: true }),
  };
}
