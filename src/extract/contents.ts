/**
 * Gives the contents of mails as files, to be submitted.
 *
 * A mail is taken apart anew for it. One that is asked for a second content gives those after it, too; they are kept
 * for a short while, so that a mail of many contents is not taken apart once for each of them. What is kept is
 * bounded: of MAX_HOLDING mails, KEPT_BYTES of each, KEEP ms after the last question. Faults are those of the pool and of
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

/** Mails that are known to have been asked for something. */
const MAX_MAILS = 1000;
const MAX_HOLDING = 16;
const KEPT_BYTES = 64 * 1024 * 1024;
const KEEP = 300_000;

type Mail = {
  readonly folder: string;
  state: "new" | "asked" | "holding";
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
    if (mail.state !== "holding") return Promise.resolve();
    return mail.turn.then(() => rm(mail.folder, { recursive: true, force: true }));
  }

  function mailOf(mailId: string): Mail {
    const mail: Mail = mails.get(mailId) ?? {
      folder: join(folder, String(made++)),
      state: "new",
      turn: emptied,
      timer: null,
    };
    mails.delete(mailId);
    mails.set(mailId, mail);
    const [oldest] = mails;
    if (mails.size > MAX_MAILS && oldest !== undefined) quietly(forget(...oldest));
    if (mail.timer !== null) clearTimeout(mail.timer);
    mail.timer = setTimeout(() => quietly(forget(mailId, mail)), keep);
    return mail;
  }

  async function makeFolder(mail: Mail): Promise<void> {
    mail.state = "holding";
    const holding = [...mails].filter(([, one]) => one.state === "holding");
    for (const oldest of holding.slice(0, -MAX_HOLDING)) quietly(forget(...oldest));
    await mkdir(mail.folder, { recursive: true, mode: 0o700 });
  }

  async function serve(mail: Mail, mailId: string, sha256: string, toPath: string): Promise<boolean> {
    if (mail.state === "holding" && (await moved(join(mail.folder, sha256), toPath))) return true;
    const raw = await rawMail(mailId);
    if (raw === null) return false;
    if (mail.state === "new") {
      mail.state = "asked";
      return pool.writeContent(raw, sha256, toPath);
    }
    await makeFolder(mail);
    return pool.writeContent(raw, sha256, toPath, { following: { folder: mail.folder, bytes: KEPT_BYTES } });
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

/** For folders: one that cannot be removed now is removed at the next start. */
function quietly(removal: Promise<void>): void {
  removal.catch(() => {});
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
