/**
 * The schema of the spool database as steps that only go forward. `PRAGMA user_version` counts the steps done.
 * A step that has been released is never changed; a new need is a new step.
 */

export const MIGRATIONS: readonly string[] = [
  `
  CREATE TABLE mails (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    state TEXT NOT NULL,
    received_at INTEGER NOT NULL,
    size INTEGER NOT NULL,
    sha256 TEXT NOT NULL,
    envelope TEXT NOT NULL,
    raw TEXT,
    deaths INTEGER NOT NULL DEFAULT 0,
    attempts INTEGER NOT NULL DEFAULT 0,
    next_at INTEGER NOT NULL DEFAULT 0,
    extraction TEXT,
    identity TEXT,
    same_as TEXT,
    waiting INTEGER NOT NULL DEFAULT 0,
    verdict TEXT,
    complete INTEGER,
    reasons TEXT,
    finished_at INTEGER,
    error TEXT
  );
  CREATE INDEX mails_received ON mails (seq) WHERE state = 'received';
  CREATE INDEX mails_identity ON mails (identity) WHERE identity IS NOT NULL;
  CREATE INDEX mails_suspect ON mails (seq) WHERE state = 'received' AND deaths > 0;
  CREATE INDEX mails_analysing ON mails (seq) WHERE state = 'analysing';
  CREATE INDEX mails_analysed ON mails (seq) WHERE state = 'analysed';
  CREATE INDEX mails_failed ON mails (id) WHERE state = 'failed';
  CREATE INDEX mails_verdict ON mails (verdict, id) WHERE verdict IN ('malicious', 'suspicious', 'not_available');
  CREATE INDEX mails_raw ON mails (finished_at) WHERE raw IS NOT NULL AND finished_at IS NOT NULL;
  CREATE INDEX mails_finished ON mails (finished_at) WHERE finished_at IS NOT NULL;

  CREATE TABLE raw (seq INTEGER PRIMARY KEY, bytes BLOB NOT NULL);

  CREATE TABLE artifacts (
    mail INTEGER NOT NULL,
    n INTEGER NOT NULL,
    key TEXT NOT NULL,
    artifact TEXT NOT NULL,
    verdict TEXT,
    PRIMARY KEY (mail, n)
  ) WITHOUT ROWID;
  CREATE INDEX artifacts_waiting ON artifacts (key) WHERE verdict IS NULL;

  CREATE TABLE analyses (
    key TEXT PRIMARY KEY,
    open INTEGER NOT NULL,
    mail INTEGER NOT NULL,
    n INTEGER NOT NULL,
    progress TEXT NOT NULL,
    submitted INTEGER NOT NULL DEFAULT 0,
    created_at INTEGER NOT NULL,
    next_at INTEGER NOT NULL,
    faults INTEGER NOT NULL DEFAULT 0,
    verdict TEXT,
    valid_until INTEGER
  ) WITHOUT ROWID;
  CREATE INDEX analyses_due ON analyses (next_at, created_at) WHERE open = 1;
  CREATE INDEX analyses_submitted ON analyses (submitted) WHERE open = 1;
  CREATE INDEX analyses_closed ON analyses (coalesce(valid_until, 0)) WHERE open = 0;

  CREATE TABLE events (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    time INTEGER NOT NULL,
    body TEXT NOT NULL
  );

  CREATE TABLE cursors (destination TEXT PRIMARY KEY, seq INTEGER NOT NULL) WITHOUT ROWID;

  CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
  `,
  // What waits for what (Lane in spool.ts), in which order, and which analysis waits for which submission.
  `
  ALTER TABLE analyses ADD COLUMN lane INTEGER NOT NULL DEFAULT 0;
  ALTER TABLE analyses ADD COLUMN priority INTEGER NOT NULL DEFAULT 1;
  ALTER TABLE analyses ADD COLUMN turn INTEGER NOT NULL DEFAULT 0;
  UPDATE analyses SET lane = 3 WHERE submitted = 1;
  UPDATE analyses SET turn = created_at;
  DROP INDEX analyses_due;
  CREATE INDEX analyses_turn ON analyses (lane, priority, turn) WHERE open = 1;
  CREATE INDEX analyses_next ON analyses (lane, next_at) WHERE open = 1;

  CREATE TABLE submissions (id INTEGER NOT NULL, key TEXT NOT NULL, PRIMARY KEY (id, key)) WITHOUT ROWID;
  INSERT OR IGNORE INTO submissions (id, key)
    SELECT each.value, a.key FROM analyses a, json_each(a.progress, '$.submissionIds') each
    WHERE a.open = 1 AND a.submitted = 1;
  `,
  // What alerts remember.
  `
  CREATE TABLE alert_notes (
    destination TEXT NOT NULL,
    id TEXT NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (destination, id)
  ) WITHOUT ROWID;
  `,
  // Events that a destination gets once more.
  `
  CREATE TABLE replays (
    destination TEXT PRIMARY KEY,
    seq INTEGER NOT NULL,
    last INTEGER NOT NULL
  ) WITHOUT ROWID;
  `,
  // Verdicts that change after their mail was reported, and which mails have a content.
  `
  ALTER TABLE mails ADD COLUMN planned_at INTEGER;
  ALTER TABLE mails ADD COLUMN reported TEXT;
  ALTER TABLE mails ADD COLUMN recheck TEXT;
  ALTER TABLE mails ADD COLUMN because TEXT;
  UPDATE mails SET planned_at = received_at WHERE state = 'analysing';
  CREATE INDEX mails_recheck ON mails (seq) WHERE recheck IS NOT NULL;
  CREATE INDEX mails_unreported ON mails (planned_at) WHERE state = 'analysing' AND verdict IS NULL;
  ALTER TABLE artifacts ADD COLUMN content BLOB;
  ALTER TABLE artifacts ADD COLUMN was TEXT;
  CREATE INDEX artifacts_content ON artifacts (content, mail) WHERE content IS NOT NULL;

  CREATE TABLE relooks (
    content BLOB PRIMARY KEY,
    mail INTEGER NOT NULL,
    n INTEGER NOT NULL,
    verdict TEXT NOT NULL,
    looks INTEGER NOT NULL DEFAULT 0,
    next_at INTEGER,
    until INTEGER NOT NULL
  ) WITHOUT ROWID;
  CREATE INDEX relooks_due ON relooks (next_at) WHERE next_at IS NOT NULL;
  CREATE INDEX relooks_until ON relooks (until);
  `,
  // Lists of a running sensor.
  `
  CREATE TABLE list_entries (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    list TEXT NOT NULL,
    kind TEXT NOT NULL,
    value TEXT NOT NULL,
    comment TEXT,
    added_at INTEGER NOT NULL,
    expires_at INTEGER,
    UNIQUE (list, kind, value)
  );
  CREATE INDEX list_entries_expire ON list_entries (expires_at) WHERE expires_at IS NOT NULL;
  `,
  // Deny lists applied to mails that were reported already.
  `
  CREATE TABLE traits (
    day INTEGER NOT NULL,
    value TEXT NOT NULL,
    mail INTEGER NOT NULL,
    PRIMARY KEY (day, value, mail)
  ) WITHOUT ROWID;

  CREATE TABLE denials (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL,
    value TEXT NOT NULL,
    run_time INTEGER NOT NULL,
    entry TEXT NOT NULL,
    change TEXT NOT NULL,
    step TEXT NOT NULL
  );

  CREATE TABLE deny_files (
    name TEXT PRIMARY KEY,
    fingerprint TEXT NOT NULL,
    position INTEGER NOT NULL
  ) WITHOUT ROWID;

  ALTER TABLE mails ADD COLUMN list_change TEXT;
  CREATE INDEX mails_list_change ON mails (list_change) WHERE list_change IS NOT NULL;
  `,
  // When a destination went out of the configuration, and which event was the newest then.
  `
  ALTER TABLE cursors ADD COLUMN gone_at INTEGER;
  ALTER TABLE cursors ADD COLUMN gone_seq INTEGER;
  `,
  // Which of several analyzers an analysis is with.
  `
  ALTER TABLE analyses ADD COLUMN analyzer TEXT NOT NULL DEFAULT 'default';
  DROP INDEX analyses_turn;
  DROP INDEX analyses_next;
  CREATE INDEX analyses_turn ON analyses (analyzer, lane, priority, turn) WHERE open = 1;
  CREATE INDEX analyses_next ON analyses (analyzer, lane, next_at) WHERE open = 1;
  `,
];
