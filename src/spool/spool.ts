/**
 * The spool: everything durable, behind one interface, so that another store can stand beside SQLite.
 *
 * Every method that writes resolves after the commit is on disk; writes that come in together share one
 * commit. Faults are SensorError SPOOL_FULL, SPOOL_BUSY or SPOOL_BROKEN, all temporary: the same call may
 * be made again. Times are milliseconds since 1970.
 *
 * A mail moves forward only:
 *
 *   received -> analysing -> analysed -> done
 *        \----------------------------> failed
 *
 * received   its bytes are on disk, the MTA got 250
 * analysing  taken apart and planned; waits for verdicts of its contents
 * analysed   every content is decided; the verdict of the mail is to be made
 * done       verdict and event are committed, together
 * failed     it could not be taken apart; a mail.failed event is committed
 *
 * A mail in analysing may be reported before all of it is decided, and one that is done is judged again where the
 * verdict of a part changes: neither moves it on. What asks for that is kept with the mail as `recheck`, until an event
 * or the decision that there is nothing to tell is committed.
 */
import type { Extraction } from "../extract/extraction.ts";
import type { Envelope, RawMail, ReceivedMail } from "../intake/mail.ts";
import type { SensorEvent } from "../report/event.ts";
import type { ListEntry, ListKey, ListKind, ListName } from "../triage/lists.ts";
import type { Plan, PlannedArtifact, SenderHit } from "../triage/plan.ts";
import type { ContentVerdict, Verdict } from "../verdict/verdict.ts";

export type MailState = "received" | "analysing" | "analysed" | "done" | "failed";

/** What is kept of an extraction beside the parts. */
export type KeptExtraction = Omit<Extraction, "attachments" | "urls"> & {
  /** What the lists say about the sender; missing where they say nothing. */
  readonly sender_list?: SenderHit;
};

/** A mail without its bytes. */
export type MailRow = Omit<ReceivedMail, "body"> & {
  readonly state: MailState;
  /** Id of the first mail that is the same, of several journal reports of one mail; null for that one itself. */
  readonly sameAs: string | null;
  /** Null until it is taken apart. */
  readonly extraction: KeptExtraction | null;
  readonly artifacts: readonly ArtifactRow[];
  /** Extractions that failed so far. */
  readonly attempts: number;
  /** As last reported; null until then. */
  readonly verdict: Verdict | null;
  readonly complete: boolean | null;
  readonly reasons: readonly string[];
  /** Id of the event that last told the verdict. */
  readonly reported?: string;
  /** Why it is to be judged again. */
  readonly recheck?: Recheck;
  /** When the last of its parts was decided, or of the failure. */
  readonly finishedAt: number | null;
  /** Code and text of the last failed extraction. */
  readonly error: string | null;
  /** False once retention deleted the bytes. */
  readonly rawKept: boolean;
};

export type ArtifactRow = PlannedArtifact & {
  /** Null while it waits. */
  readonly verdict: ContentVerdict | null;
  /** What was reported of it, where its verdict has changed since. */
  readonly was?: Verdict;
};

/**
 * Why the verdict of a part that was decided before is another one now. `completed`: it was still being analysed when
 * its mail was reported; `late`: another mail with the same content had it analysed again; `relook`: it was looked up
 * again some time after delivery; `list`: somebody put it on a deny list.
 */
export const CHANGE_CAUSES = ["completed", "late", "relook", "list"] as const;
export type ChangeCause = (typeof CHANGE_CAUSES)[number];

export type Recheck = {
  readonly because: ChangeCause;
  /** Id of the change, the same for all mails it concerns. */
  readonly change: string;
};

export type RelookSettings = {
  /** Milliseconds after delivery in which verdicts are kept true; 0 for not at all. */
  readonly for: number;
  /** Milliseconds to the first second look; each later one has twice the wait. */
  readonly first: number;
  /** True where URLs that may be submitted are submitted anew for their reputation, if a look-up finds nothing bad. */
  readonly submit?: boolean;
};

/** A mail that shares a content with another one. */
export type MailBeside = {
  readonly id: string;
  readonly receivedAt: number;
  readonly envelope: Envelope;
  readonly subject: string | null;
  readonly messageId: string | null;
};

/** What the verdict stage decided about a mail. */
export type Report = {
  readonly verdict: Verdict;
  readonly complete: boolean;
  readonly reasons: readonly string[];
  /** The last one tells the verdict. None: there is nothing to tell. */
  readonly events: readonly SensorEvent[];
};

/** A mail handed out for extraction. */
export type ClaimedMail = {
  readonly id: string;
  readonly size: number;
  /** As the MTA gave it. */
  readonly envelope: Envelope;
  readonly raw: RawMail;
  /** How often the sensor itself died while this mail was handed out. Such a mail is handed out alone. */
  readonly deaths: number;
};

/**
 * What an analysis waits for next. `look`: to be looked up; `send`, `upload`: to be submitted, a URL or a file;
 * `poll`: for VMRay to finish; `read`: VMRay has finished it, its verdict is to be read.
 */
export const ANALYSIS_LANES = ["look", "send", "upload", "poll", "read"] as const;
export type AnalysisLane = (typeof ANALYSIS_LANES)[number];

/** `why` an analyzer did not take a content, a sentence. */
export type Tried = { readonly analyzer: string; readonly why: string };

/** What an analysis took so far: calls that were no submissions, and submissions. */
export type Spent = { readonly calls: number; readonly submissions: number };

/** A fault of a call for a content: when, milliseconds since 1970, and a sentence without a full stop. */
export type ContentFault = { readonly at: number; readonly reason: string };

/** Where the analysis of one content stands. Each is committed before the step it names begins. */
export type AnalysisProgress = AnalysisState & {
  readonly spent?: Spent;
  /** The analyzers before this one, which did not take it. */
  readonly tried?: readonly Tried[];
  /** What its last call met, where it waits for another one because of that. */
  readonly fault?: ContentFault | undefined;
  /** The UTC day to which its submission is charged; missing where it is to none. */
  readonly charged?: string;
  /** VMRay took our last submission of it only in part: that is not as deep as it was to be. */
  readonly doubted?: boolean;
};

/** What more (or less, if negative) a submission took than the one that it was charged as, and the UTC day of that. */
export type Settlement = { readonly day: string; readonly by: number };

/** What was submitted in place of what the policy wants, and `why`, a clause. */
export type Instead = { readonly action: "reputation"; readonly why: string };

/** Submissions that were made for the parts of one mail. */
export type MailUse = { readonly mail: string; readonly uses: number };

type AnalysisState =
  | { readonly state: "queued" }
  /** VMRay did not know it `at` that time, or (`again`) what it knew was too old; it waits to be submitted. */
  | {
      readonly state: "looked";
      readonly at: number;
      readonly lane: "send" | "upload";
      readonly again?: boolean;
      /** VMRay has a sample of it, without a verdict that counts. */
      readonly seen?: boolean;
    }
  /**
   * The POST may have been sent. After a restart: look whether VMRay has it before sending it again, and not before
   * `resendAt`: until then the first one may still arrive. Missing while nothing is known of how it ended.
   */
  | {
      readonly state: "submitting";
      readonly again?: boolean;
      readonly resendAt?: number;
      readonly instead?: Instead;
    }
  | {
      readonly state: "submitted";
      readonly sampleIds: readonly number[];
      readonly submissionIds: readonly number[];
      /** What VMRay found in it and was not done with: its submissions. */
      readonly childIds?: readonly number[];
      readonly submittedAt: number;
      /** When VMRay was first seen to work on it; missing while it may still be queued there. */
      readonly runningSince?: number;
      /** What VMRay said when it took the submission only in part (a quota). */
      readonly note?: string;
      readonly instead?: Instead;
      /** Submissions of the answer beyond those in `submissionIds`. */
      readonly unfollowed?: number;
    };

/** The analysis of one content, however many mails wait for it. */
export type AnalysisJob = {
  /** The content and how deep it is analysed (analysisKey). */
  readonly key: string;
  readonly lane: AnalysisLane;
  /** 0 high, 1 normal, 2 low, 3 behind all others. */
  readonly priority: number;
  /** Orders those of one priority: a time, the smallest first. */
  readonly turn: number;
  /** The artifact as it stands in `mailId`, the mail whose raw bytes hold it. */
  readonly artifact: PlannedArtifact;
  readonly mailId: string;
  readonly progress: AnalysisProgress;
  /** When it was first wanted. */
  readonly createdAt: number;
  /** Not before this time. */
  readonly nextAt: number;
  /** A second look that is submitted, where a look-up finds nothing bad, whatever VMRay knows. */
  readonly anew?: boolean;
  /** Consecutive faults. */
  readonly faults: number;
  /** As in AnalysisProgress. */
  readonly doubted?: boolean;
};

/** Where an analysis stands among the others of its lane, as in AnalysisJob. */
export type Urgency = { readonly key: string; readonly priority: number; readonly turn: number };

export type OutboxEvent = {
  /** Strictly rising in the order of the commits. */
  readonly seq: number;
  /** Characters of its JSON. */
  readonly size: number;
  readonly event: SensorEvent;
};

/** What an alert remembers: a JSON text under an id of its own. */
export type AlertNote = { readonly id: string; readonly body: string };

/** An event as JSON. */
export type OutboxBody = { readonly seq: number; readonly body: string };

export type OutboxCursor = {
  readonly destination: string;
  /** Everything up to this seq was delivered or is not wanted. */
  readonly seq: number;
  /** Events after it. */
  readonly backlog: number;
  /** Age of the oldest event after it, null where there is none. */
  readonly oldestAt: number | null;
};

export type Replay = {
  /** Everything up to this seq was sent. */
  readonly seq: number;
  /** The seq of the last event to send. */
  readonly last: number;
};

export type SpoolCounts = {
  readonly states: Readonly<Record<MailState, number>>;
  /** Of mails that were reported, by their verdict now, since the spool was made. */
  readonly verdicts: Readonly<Record<Verdict, number>>;
  readonly analyses: { readonly queued: number; readonly submitted: number };
  readonly outbox: readonly OutboxCursor[];
  /** Bytes of the spool on disk. */
  readonly bytes: number;
};

export type MailFilter = {
  readonly states?: readonly MailState[];
  readonly verdicts?: readonly Verdict[];
  /** Received at or after. */
  readonly since?: number;
  /** Received before. */
  readonly until?: number;
  /** Substring of subject, sender or recipient, without regard to ASCII case. */
  readonly text?: string;
};

/** An entry of the lists of a running sensor; ids rise in the order of the additions. */
export type StoredListEntry = ListEntry & { readonly id: number };

/** A file of a deny list as it was read. */
export type DenyFile = {
  readonly name: string;
  /** Of its content. */
  readonly fingerprint: string;
};

export type ListFilter = {
  readonly list?: ListName;
  readonly kind?: ListKind;
  /** Part of the value or the comment, without regard to ASCII case. */
  readonly text?: string;
};

/** The bytes of one mail on their way to disk: in memory while few, in a file beside the database when many. */
export type MailBody = {
  /** Resolves when more may come; null where it may at once. */
  write(chunk: Uint8Array): Promise<void> | null;
  /** Resolves when a body in a file is on disk. */
  finish(): Promise<{ readonly size: number; readonly sha256: string; readonly raw: RawMail }>;
  /** Removes what was written. */
  abort(): Promise<void>;
};

/** What a stage waits for: it is woken when there may be work for it. */
export type SpoolTopic = "received" | "analyses" | "analysed" | "events";

/** A destination that the configuration no longer names. */
export type GoneDestination = {
  readonly destination: string;
  /** Milliseconds since 1970. */
  readonly goneAt: number;
  /** Events that had come by then and were not delivered, wanted or not. */
  readonly waiting: number;
  /** The oldest and the newest of them; null where nothing waits. */
  readonly span: { readonly first: SensorEvent; readonly last: SensorEvent } | null;
};

export type Spool = {
  // intake
  /** Throws where a mail could not be taken now: the disk is too full, the database broken. Cheap. */
  ready(): void;
  /** Takes the bytes of a mail as they come. */
  body(id: string): MailBody;
  putMail(mail: ReceivedMail): Promise<void>;

  // extract and triage
  /**
   * The oldest mails to take apart, at most `limit`, none that is handed out already. One during which the
   * sensor died is handed out when no other is, alone, and before all others.
   */
  claimMails(limit: number): Promise<readonly ClaimedMail[]>;
  /** Takes back a mail that was handed out and about which nothing was recorded. */
  giveBackMail(id: string): void;
  /** Notes that a mail now goes into a parser: should the sensor die before the outcome, the mail is suspect. */
  noteParsing(id: string): void;
  /** The bytes of a mail, null where retention deleted them or the mail is unknown. */
  rawMail(id: string): Promise<RawMail | null>;
  /**
   * Commits the parts and the plan. Contents with a verdict still valid are decided at once, skipped ones too;
   * for the others an analysis is started or joined. Moves the mail to analysing or analysed. `sender` is what the
   * lists say about the sender.
   */
  recordExtraction(id: string, extraction: Extraction, plan: Plan, sender?: SenderHit | null): Promise<void>;
  /** Counts a failed extraction; the mail is handed out again at `retryAt`. Returns the failures so far. */
  recordExtractionFault(id: string, error: string, retryAt: number): Promise<number>;
  /** Gives up on a mail: failed, with its event, in one commit. */
  failMail(id: string, error: string, event: SensorEvent): Promise<void>;

  // analyzer: each of several has its own analyses, budget and feed; without its name the first one is meant
  /**
   * Analyses of the lane, or of all, that are due at `now`, leaving out those named: the first by priority and turn,
   * and with them the longest waiting of any priority, an eighth of `limit`. In `poll`, the longest waiting alone.
   */
  dueAnalyses(
    now: number,
    limit: number,
    leaveOut: ReadonlySet<string>,
    lane?: AnalysisLane,
    analyzer?: string,
  ): Promise<readonly AnalysisJob[]>;
  /** How urgent these analyses are now, as far as they are open: mails that came since may want them sooner. */
  urgencies(keys: readonly string[]): Promise<readonly Urgency[]>;
  /** When the next analysis of the lane, or of all, is due; null where none is open. */
  nextAnalysisAt(
    leaveOut: ReadonlySet<string>,
    lane?: AnalysisLane,
    analyzer?: string,
  ): Promise<number | null>;
  /** `charge`: the UTC day (`2026-11-24`) on whose account a submission goes that is now sent. */
  recordProgress(
    key: string,
    progress: AnalysisProgress,
    nextAt: number,
    faults: number,
    charge?: string,
  ): Promise<void>;
  /** Submissions charged to a UTC day so far. Days before the last one charged are forgotten. */
  charged(day: string, analyzer?: string): Promise<number>;
  /** Of mails with analyses that are not finished: what submissions of theirs that were charged to the day took. */
  chargedMails(day: string, analyzer?: string): Promise<readonly MailUse[]>;
  /**
   * VMRay finished these submissions: the analyses that wait for them move to `read`, due at `now`. Together with
   * it `cursor` is kept. Gives their keys.
   */
  submissionsFinished(
    ids: readonly number[],
    cursor: number,
    now: number,
    analyzer?: string,
  ): Promise<readonly string[]>;
  /** Commits `sensor.state` events of an analyzer, with the names of all its states that were told and are not over. */
  tellStates(events: readonly SensorEvent[], open: readonly string[], analyzer?: string): Promise<void>;
  /** The names kept by the last tellStates. */
  toldStates(analyzer?: string): Promise<readonly string[]>;
  /** The last cursor kept by submissionsFinished, null where there was none. */
  finishedCursor(analyzer?: string): Promise<number | null>;
  /** Gives an analysis to another analyzer, to be begun there; `settlement` is for the one that it leaves. */
  moveAnalysis(
    key: string,
    analyzer: string,
    progress: AnalysisProgress,
    settlement?: Settlement | null,
  ): Promise<void>;
  /**
   * Analyses of analyzers that are none of `names` begin anew with the first of them. Gives how many. What waits for a
   * time of a clock that was ahead is due now.
   */
  adoptAnalyses(names: readonly [string, ...string[]]): Promise<number>;
  /**
   * Commits the verdict of a content and decides every artifact that waits for it; mails that wait for nothing
   * more move to analysed. Until `validUntil` the verdict serves later mails (null: not at all). Where earlier mails
   * within the time of `setRelooks` had another verdict for the content, they get this one and are judged again.
   * `settlement` is charged with it.
   */
  finishAnalysis(
    key: string,
    verdict: ContentVerdict,
    validUntil: number | null,
    settlement?: Settlement | null,
  ): Promise<void>;

  /** Until it is called nothing is looked at again. */
  setRelooks(settings: RelookSettings): Promise<void>;
  /** Queues second looks that are due at `now`, at most `limit`; gives how many. */
  startRelooks(now: number, limit: number): Promise<number>;

  // verdict
  /** Mails in state analysed, oldest first. */
  analysedMails(limit: number): Promise<readonly MailRow[]>;
  /**
   * Commits the verdict of a mail with its events: done. A second call for the same mail changes nothing. `seen` is
   * the id of the change that was known when it was judged: a later one is still to be looked at.
   */
  finishMail(
    id: string,
    verdict: Verdict,
    complete: boolean,
    reasons: readonly string[],
    events: readonly SensorEvent[],
    seen?: string,
  ): Promise<void>;
  /**
   * Mails in analysing or done that are to be judged now, at most `limit`: those with a change first, then those that
   * have waited for verdicts since before `plannedBefore` and were not reported.
   */
  mailsToReport(plannedBefore: number, limit: number): Promise<readonly MailRow[]>;
  /**
   * Commits what was decided about such a mail, null for nothing to tell, as long as it stands as it was read: where
   * parts or changes came in since, nothing is done, and it is handed out again.
   */
  reportMail(mail: MailRow, report: Report | null): Promise<void>;
  /** The last fault of the parts that the mail waits for, null where they met none. */
  waitingFault(id: string): Promise<string | null>;
  /**
   * Mails that share a content with the parts `parts` (numbers in the plan) of a mail, newest first; how many in all.
   * Mails of one `change` are told the same of each other.
   */
  mailsBeside(
    id: string,
    parts: readonly number[],
    limit: number,
    change?: string,
  ): Promise<{ readonly count: number; readonly mails: readonly MailBeside[] }>;

  /** The other mails that a denial with the id `change` concerns, newest first; how many in all. */
  mailsOfChange(
    id: string,
    change: string,
    limit: number,
  ): Promise<{ readonly count: number; readonly mails: readonly MailBeside[] }>;

  // report
  /** Events that belong to no mail. */
  putEvents(events: readonly SensorEvent[]): Promise<void>;
  /** At most `limit`, and fewer where they are long; none only where there is none. */
  eventsAfter(seq: number, limit: number): Promise<readonly OutboxEvent[]>;
  /** The same as they are stored: texts go from thread to thread far faster than objects. */
  eventBodies(seq: number, limit: number): Promise<readonly OutboxBody[]>;
  /** Makes sure each destination has a cursor; new ones start at the end. Gives the new ones. */
  addDestinations(names: readonly string[]): Promise<readonly string[]>;
  /**
   * Says which destinations there are from `time` on. Others are gone: what waits for them is kept until they are named
   * again or forgotten. Gives those that are gone.
   */
  keepDestinations(names: readonly string[], time: number): Promise<readonly GoneDestination[]>;
  /** Forgets a destination, its notes and its replay, and commits the event that says so with it. */
  forgetDestination(destination: string, event: SensorEvent | null): Promise<void>;
  cursor(destination: string): Promise<number>;
  advanceCursor(destination: string, seq: number): Promise<void>;
  /** The seq of the newest event, 0 where there was none. */
  lastSeq(): Promise<number>;
  /** Moves a cursor over events that are given up, and commits the event that says so with it. */
  dropEvents(destination: string, seq: number, event: SensorEvent): Promise<void>;
  /**
   * Has a destination get the events from `since` to before `until` once more; its cursor stays. Gives how many
   * there are, null where a replay of this destination has not ended yet.
   */
  startReplay(destination: string, since: number, until: number): Promise<number | null>;
  /** What is left of the replay of a destination, null where there is none. */
  replay(destination: string): Promise<Replay | null>;
  /** Notes how far a replay has come; at its last event it has ended. */
  advanceReplay(destination: string, seq: number): Promise<void>;

  // alert
  /** The notes of a destination, in no order. They go with the destination (forgetDestination). */
  alertNotes(destination: string): Promise<readonly AlertNote[]>;
  /** Writes notes, in one commit; a body of null forgets the note. */
  putAlertNotes(
    destination: string,
    notes: readonly { readonly id: string; readonly body: string | null }[],
  ): Promise<void>;

  // lists
  /**
   * Adds entries whose values are in normal form to the lists of the running sensor; one that is there gets the new
   * comment and expiry. "full" where they do not fit: nothing is added then. What is new on a deny list is queued to be
   * applied to the mails within the time of `setRelooks`.
   */
  putListEntries(
    entries: readonly ListEntry[],
  ): Promise<"full" | { readonly added: number; readonly changed: number }>;
  /** Gives how many of them were there. */
  removeListEntries(keys: readonly ListKey[]): Promise<number>;
  /** How many entries of this file, as it is now, are known to have been looked at. */
  deniedFromFile(file: DenyFile): Promise<number>;
  /**
   * Queues those of the entries from number `from` on that mails may have, to be applied to these. How far it is gets
   * written down where one was queued, or where `note` is true: a million commits would hold up the mails that come in.
   */
  denyFromFile(
    file: DenyFile,
    next: { readonly from: number; readonly entries: readonly ListEntry[]; readonly note: boolean },
  ): Promise<void>;
  /** Forgets files that are not named: should one come back, all of it is new. */
  keepDenyFiles(names: readonly string[]): Promise<void>;
  /**
   * Takes the next step of the oldest denial that is queued, over at most `limit` mails: what it is about becomes
   * malicious, then these mails are to be judged again. Gives how many mails were looked at, 0 where nothing is queued.
   */
  applyDenials(limit: number): Promise<number>;
  /** Newest first; `before` is the id of the last entry of the page before. What has expired is left out. */
  listEntries(filter: ListFilter, limit: number, before: number | null): Promise<readonly StoredListEntry[]>;

  // control
  mail(id: string): Promise<MailRow | null>;
  /** Newest first; `before` is the id of the last mail of the page before. */
  mails(filter: MailFilter, limit: number, before: string | null): Promise<readonly MailRow[]>;
  counts(): Promise<SpoolCounts>;

  // life
  /** Calls `wake` after commits that may have made work for the topic. Returns how to stop. */
  subscribe(topic: SpoolTopic, wake: () => void): () => void;
  /** Deletes what retention no longer keeps, in small steps; true where there is more to delete. */
  sweep(now: number): Promise<boolean>;
  close(): Promise<void>;
};
