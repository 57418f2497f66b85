/**
 * Gives the contents of mails as files, to be submitted.
 *
 * A mail is taken apart anew for it. One that is asked for a second content gives those after it, too; they are kept
 * for a short while, so that a mail of many contents is not taken apart once for each of them. What is kept is
 * bounded: MAX_MAILS mails, KEPT_BYTES of each, KEEP ms after the last question. Faults are those of the pool and of
 * the file system.
 */
import { mkdir, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import type { RawMail } from "../intake/mail.ts";
import type { ExtractPool } from "./pool.ts";

export type Contents = {
  /** Writes the content with this SHA-256 (hex) as `toPath`, mode 0600; false where the mail or the content is gone. */
  readonly write: (mailId: string, sha256: string, toPath: string) => Promise<boolean>;
  /** Removes what is kept. */
  readonly stop: () => Promise<void>;
};

export type ContentsOptions = {
  readonly rawMail: (mailId: string) => Promise<RawMail | null>;
  readonly pool: Pick<ExtractPool, "writeContent">;
  /** A folder of its own, on the file system of the paths that are asked for; emptied at first. */
  readonly folder: string;
  readonly keep?: number;
};

const MAX_MAILS = 8;
const KEPT_BYTES = 64 * 1024 * 1024;
const KEEP = 60_000;
/** For reading on: what takes long to find is looked for alone. */
const READ_ON = 10_000;

type Mail = {
  readonly folder: string;
  asked: boolean;
  /** One question at a time: the first one may bring what the next one asks for. */
  turn: Promise<unknown>;
  timer: Timer | null;
};

export function createContents({ rawMail, pool, folder, keep = KEEP }: ContentsOptions): Contents {
  /** In the order of their last question. */
  const mails = new Map<string, Mail>();
  let made = 0;
  const emptied = rm(folder, { recursive: true, force: true });
  emptied.catch(() => {});

  function forget(mailId: string, mail: Mail): Promise<void> {
    if (mails.get(mailId) === mail) mails.delete(mailId);
    if (mail.timer !== null) clearTimeout(mail.timer);
    return mail.turn.then(() => rm(mail.folder, { recursive: true, force: true }));
  }

  function mailOf(mailId: string): Mail {
    const mail: Mail = mails.get(mailId) ?? {
      folder: join(folder, String(made++)),
      asked: false,
      turn: emptied,
      timer: null,
    };
    mails.delete(mailId);
    mails.set(mailId, mail);
    const [oldest] = mails;
    // A folder that cannot be removed now is removed at the next start.
    if (mails.size > MAX_MAILS && oldest !== undefined) forget(...oldest).catch(() => {});
    if (mail.timer !== null) clearTimeout(mail.timer);
    mail.timer = setTimeout(() => forget(mailId, mail).catch(() => {}), keep);
    return mail;
  }

  async function serve(mail: Mail, mailId: string, sha256: string, toPath: string): Promise<boolean> {
    if (mail.asked && (await moved(join(mail.folder, sha256), toPath))) return true;
    const raw = await rawMail(mailId);
    if (raw === null) return false;
    if (!mail.asked) {
      mail.asked = true;
      return pool.writeContent(raw, sha256, toPath);
    }
    await mkdir(mail.folder, { recursive: true, mode: 0o700 });
    const following = { folder: mail.folder, bytes: KEPT_BYTES };
    return (
      (await pool.writeContent(raw, sha256, toPath, { following, timeout: READ_ON })) ||
      (await pool.writeContent(raw, sha256, toPath))
    );
  }

  return {
    write(mailId, sha256, toPath) {
      const mail = mailOf(mailId);
      const served = mail.turn.then(() => serve(mail, mailId, sha256, toPath));
      mail.turn = served.catch(() => {});
      return served;
    },
    async stop() {
      for (const { timer } of mails.values()) if (timer !== null) clearTimeout(timer);
      mails.clear();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

async function moved(from: string, to: string): Promise<boolean> {
  try {
    await rename(from, to);
    return true;
  } catch (thrown) {
    if (thrown instanceof Error && "code" in thrown && thrown.code === "ENOENT") return false;
    throw thrown;
  }
}
