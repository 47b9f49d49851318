/** The sessions of this daemon by name and id: found, created on first use, listed, closed. */
import { isDeepStrictEqual } from "node:util";
import type { CreateSessionBody, ForkBody } from "../../contract/api.ts";
import { ExecuteCodeError } from "../../contract/errors.ts";
import { LIMITS } from "../../contract/limits.ts";
import type { Profile, ProfileOptions } from "../../contract/profile.ts";
import {
  type CapturePolicy,
  type Durability,
  type IsolationTier,
  Language,
  type Lineage,
  type OnBusy,
  SESSION_ID,
  SESSION_NAME,
  type SessionInfo,
  type SnapshotPolicy,
} from "../../contract/records.ts";
import type { Forks } from "../../contract/time-travel.ts";
import { newSessionId } from "../../platform/ids.ts";
import type { Placement } from "../ports/placement.ts";
import type { StoredSession } from "../ports/store.ts";
import { storedSession } from "../stored-session.ts";
import { Session, type SessionContext } from "./session.ts";

/** What a session gets that is created because there is none of its name. */
export interface NewSession {
  readonly language?: string | undefined;
  readonly python?: string | undefined;
  readonly durability?: Durability | undefined;
  readonly on_busy?: OnBusy | undefined;
  readonly snapshots?: SnapshotPolicy | undefined;
  readonly capture?: CapturePolicy | undefined;
  readonly isolation?: IsolationTier | undefined;
  readonly profile?: ProfileOptions | undefined;
  /** A profile that another session was granted, in place of `profile`. */
  readonly granted?: Profile | undefined;
}

export interface SessionsOptions extends SessionContext {
  readonly placement: Placement;
  /** The name of the default interpreter: a session that asks for it by name asks for the default. */
  readonly defaultPython: string;
  /** Told when this daemon begins and ends to own a session. */
  readonly onOwned: (session: Session) => void;
  readonly onGivenUp: (session: Session) => void;
}

/** A session that is being stored and has no kernel yet. */
interface BranchRow {
  readonly stored: StoredSession;
  readonly created: Promise<void>;
}

export class Sessions {
  readonly #options: SessionsOptions;
  readonly #byId = new Map<string, Session>();
  readonly #byName = new Map<string, Session>();
  /** Every name that a session has or had: one that is not here needs no look-up. */
  readonly #names = new Set<string>();
  /** Look-ups under way, so that racing requests for a name meet in one session. */
  readonly #opening = new Map<string, Promise<Session>>();

  constructor(options: SessionsOptions) {
    this.#options = options;
  }

  /** Learns the names there are. */
  async start(): Promise<void> {
    for (const { name } of await this.#options.store.listSessions({ closed: true })) this.#names.add(name);
  }

  /** Sessions with a kernel. */
  get live(): number {
    let count = 0;
    for (const session of this.#byId.values()) if (session.live) count++;
    return count;
  }

  owned(id: string): Session | null {
    return this.#byId.get(id) ?? null;
  }

  /** The session of this name or id. Throws `unknown_session` or `session_closed`. */
  async find(ref: string): Promise<Session> {
    return this.#byName.get(ref) ?? this.#byId.get(ref) ?? this.#once(ref, () => this.#load(ref));
  }

  /** The session of this name, created when there is none; with `fresh` also when the last one is closed. */
  async open(ref: string, wanted: NewSession, fresh: boolean): Promise<Session> {
    const session =
      this.#byName.get(ref) ?? (await this.#once(ref, () => this.#loadOrCreate(ref, wanted, fresh)));
    this.#checkLanguage(session, wanted.language);
    this.#checkProfile(session, wanted.profile);
    return session;
  }

  /** Resolves when the session is in the store. */
  async create(body: CreateSessionBody): Promise<Session> {
    const name = body.name ?? `session-${newSessionId().slice(-6)}`;
    if (this.#byName.has(name)) throw exists(name);
    const session = await this.#once(name, () => this.#create(name, body), exists(name));
    await session.created;
    return session;
  }

  async list(options: { closed: boolean }): Promise<SessionInfo[]> {
    const stored = await this.#options.store.listSessions(options);
    return stored.map((one) => this.#byId.get(one.id)?.info() ?? this.#dormant(one).info());
  }

  /** A session by name or id, also a closed one. Throws `unknown_session`. */
  async show(ref: string): Promise<SessionInfo> {
    const owned = this.#byName.get(ref) ?? this.#byId.get(ref);
    if (owned !== undefined) return owned.info();
    return this.#dormant(await storedSession(this.#options.store, ref)).info();
  }

  /** Ends the session; its history stays. */
  async closeSession(ref: string): Promise<SessionInfo> {
    const session = await this.find(ref);
    await session.close();
    this.#giveUp(session);
    return session.info();
  }

  /** Ends every kernel; the sessions stay open for the next daemon. */
  async suspend(): Promise<void> {
    await Promise.all([...this.#byId.values()].map((session) => session.suspend()));
  }

  #once(ref: string, open: () => Promise<Session>, conflict?: ExecuteCodeError): Promise<Session> {
    const under = this.#opening.get(ref);
    if (under !== undefined) return conflict === undefined ? under : Promise.reject(conflict);
    const opening = open().finally(() => this.#opening.delete(ref));
    this.#opening.set(ref, opening);
    return opening;
  }

  async #load(ref: string): Promise<Session> {
    const stored = await storedSession(this.#options.store, ref);
    const owned = this.#byId.get(stored.id);
    if (owned !== undefined) return owned;
    if (stored.closed_at !== null) {
      throw new ExecuteCodeError("session_closed", { message: `The session ${stored.name} is closed.` });
    }
    const lease = await this.#options.placement.acquire(stored.id);
    return this.#own(new Session(this.#options, { ...stored, owner: lease.owner, epoch: lease.epoch }, null));
  }

  async #loadOrCreate(ref: string, wanted: NewSession, fresh: boolean): Promise<Session> {
    const isNew = !this.#names.has(ref) && !SESSION_ID.test(ref);
    const stored = isNew ? null : await this.#options.store.findSession(ref);
    if (stored !== null && (stored.closed_at === null || !fresh)) return this.#load(ref);
    if (stored === null && SESSION_ID.test(ref)) return this.#load(ref);
    return this.#create(stored?.name ?? ref, wanted);
  }

  async #create(name: string, wanted: NewSession): Promise<Session> {
    checkName(name);
    const language = knownLanguage(wanted.language ?? "python");
    const { store, kernels, placement, defaultPython } = this.#options;
    if (this.live >= LIMITS.liveSessions) throw new ExecuteCodeError("too_many_sessions");
    const python = wanted.python === undefined || wanted.python === defaultPython ? null : wanted.python;
    const isolation = kernels.isolation.choose(wanted.isolation);
    const asked = kernels.grant(wanted.profile, isolation);
    const profile =
      wanted.granted === undefined || isDeepStrictEqual(wanted.granted, asked) ? asked : wanted.granted;
    const warm = await kernels.take({ python, isolation, profile });
    if (warm === null) await kernels.check(python);
    const now = new Date().toISOString();
    const id = warm?.sessionId ?? newSessionId();
    const stored: StoredSession = {
      id,
      name,
      language,
      python,
      durability: wanted.durability ?? "full",
      on_busy: wanted.on_busy ?? "wait",
      isolation,
      profile,
      packages: [],
      owner: placement.owner,
      snapshots: wanted.snapshots ?? "changes",
      capture: wanted.capture ?? "idle",
      forked_from: null,
      folder: id,
      head: null,
      epoch: 1,
      generation: warm === null ? 0 : 1,
      revision: 0,
      created_at: now,
      closed_at: null,
      used_at: now,
    };
    const created = store.createSession(stored);
    const session = this.#own(new Session(this.#options, stored, warm?.placed ?? null, created));
    created.catch(() => {
      this.#giveUp(session);
      void warm?.placed.close();
    });
    return session;
  }

  /** A new session that is granted what another one is, named after it. Throws as `create`. */
  async createLike(ref: string): Promise<Session> {
    const stored = await storedSession(this.#options.store, ref);
    const [name] = this.#forkNames(stored.name, { count: 1, on_unsafe: "refuse" });
    const { durability, on_busy, isolation, snapshots, capture, profile: granted } = stored;
    const wanted = { durability, on_busy, isolation, snapshots, capture, granted };
    const python = stored.python ?? undefined;
    const session = await this.#once(name!, () => this.#create(name!, { ...wanted, python }));
    await session.created;
    return session;
  }

  /**
   * New sessions with copies of this one's memory. Throws `invalid_request`, `session_exists`, `too_many_sessions`, and
   * what `Line.fork` throws; then there is none of them.
   */
  async fork(ref: string, body: ForkBody): Promise<Forks> {
    const parent = await this.find(ref);
    const names = this.#forkNames(parent.name, body);
    if (this.live + body.count > LIMITS.liveSessions) throw new ExecuteCodeError("too_many_sessions");
    const { promise: done, resolve } = Promise.withResolvers<void>();
    // Nobody else makes a session of these names meanwhile.
    for (const name of names) {
      const opened = done.then(() => this.find(name));
      opened.catch(() => {});
      this.#opening.set(name, opened);
    }
    let rows: BranchRow[] = [];
    let sessions: Session[] = [];
    try {
      // They are stored while their kernels get ready.
      const { branches, unsafe, state } = await parent.line.fork(body, (lineage) => {
        rows = names.map((name) => this.#storeBranch(parent, name, lineage));
      });
      sessions = rows.map(({ stored, created }, index) =>
        this.#own(new Session(this.#options, stored, branches[index]!, created, state)),
      );
      await Promise.all(rows.map(({ created }) => created));
      return { sessions: sessions.map((session) => session.info()), unsafe };
    } catch (error) {
      await Promise.all(sessions.map((session) => this.#abandon(session)));
      await Promise.all(rows.map((row) => this.#dropBranch(row)));
      throw error;
    } finally {
      for (const name of names) this.#opening.delete(name);
      resolve();
    }
  }

  #storeBranch(parent: Session, name: string, lineage: Lineage): BranchRow {
    const now = new Date().toISOString();
    const stored: StoredSession = {
      ...parent.stored,
      id: newSessionId(),
      name,
      packages: parent.info().packages,
      owner: this.#options.placement.owner,
      epoch: 1,
      generation: 1,
      revision: lineage.revision,
      forked_from: lineage,
      head: lineage.execution,
      created_at: now,
      used_at: now,
      closed_at: null,
    };
    const created = this.#options.store.createSession(stored);
    created.catch(() => {});
    return { stored, created };
  }

  /** There is to be no such session. */
  async #dropBranch({ stored, created }: BranchRow): Promise<void> {
    try {
      await created;
    } catch {
      return; // There is none.
    }
    await this.#options.store.dropSession(stored.id, stored.epoch).catch((error: unknown) => {
      this.#options.log.warn({ session: stored.id, err: error }, "a fork that failed is still listed");
    });
  }

  /** A session that did not get into the store, or that others of the same call did not get into. */
  async #abandon(session: Session): Promise<void> {
    this.#giveUp(session);
    await session.discard();
  }

  /** As many free names as there are to be sessions. */
  #forkNames(parent: string, { count, names }: ForkBody): string[] {
    const taken = (name: string): boolean => this.#byName.has(name) || this.#opening.has(name);
    if (names === undefined) {
      const free: string[] = [];
      const stem = parent.slice(0, LIMITS.sessionNameLength - 6);
      for (let number = 1; free.length < count; number++) {
        const name = `${stem}.${number}`;
        if (!this.#names.has(name) && !taken(name)) free.push(name);
      }
      return free;
    }
    if (names.length !== count || new Set(names).size !== count) {
      throw new ExecuteCodeError("invalid_request", {
        message: `There are ${new Set(names).size} different names for ${count} sessions.`,
        remedy: "Give one name for each, or none.",
      });
    }
    for (const name of names) {
      checkName(name);
      if (taken(name)) throw exists(name);
    }
    return names;
  }

  #checkLanguage(session: Session, language: string | undefined): void {
    const runs: string = session.stored.language;
    if (language === undefined || knownLanguage(language) === runs) return;
    throw new ExecuteCodeError("session_language", {
      message: `The session ${session.name} runs ${runs}, not ${language}.`,
    });
  }

  /** A session that there is already is granted what it is granted. */
  #checkProfile(session: Session, wanted: ProfileOptions | undefined): void {
    if (wanted === undefined) return;
    const { profile, isolation } = session.stored;
    const asked = this.#options.kernels.grant(wanted, isolation);
    const others = (Object.keys(wanted) as Array<keyof ProfileOptions>).filter(
      (name) => !isDeepStrictEqual(asked[name], profile[name]),
    );
    if (others.length === 0) return;
    const list = others.map((name) => `${name} ${JSON.stringify(profile[name])}`).join(", ");
    throw new ExecuteCodeError("session_profile", {
      message: `The session ${session.name} exists, with ${list}.`,
    });
  }

  #own(session: Session): Session {
    this.#byId.set(session.id, session);
    this.#byName.set(session.name, session);
    this.#names.add(session.name);
    this.#options.onOwned(session);
    return session;
  }

  #giveUp(session: Session): void {
    this.#byId.delete(session.id);
    if (this.#byName.get(session.name) === session) this.#byName.delete(session.name);
    this.#options.onGivenUp(session);
  }

  /** For showing only. */
  #dormant(stored: StoredSession): Session {
    return new Session(this.#options, stored, null);
  }
}

function checkName(name: string): void {
  if (SESSION_NAME.test(name)) return;
  throw new ExecuteCodeError("invalid_request", {
    message: `\`${name.slice(0, 80)}\` cannot name a session.`,
    remedy: `Use 1 to ${LIMITS.sessionNameLength} letters, digits, dots, dashes and underscores; begin with a letter or digit.`,
  });
}

function exists(name: string): ExecuteCodeError {
  return new ExecuteCodeError("session_exists", { message: `A session named ${name} exists.` });
}

function knownLanguage(language: string): Language {
  const known = Language.safeParse(language);
  if (known.success) return known.data;
  throw new ExecuteCodeError("unknown_language", {
    message: `\`${language.slice(0, 80)}\` is not a language that sessions run.`,
    remedy: `Use one of: ${Language.options.join(", ")}.`,
  });
}
