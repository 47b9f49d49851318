/** The live snapshots of one session: the newest of the policy's, those that were given a name, and what they cost. */
import { ExecuteCodeError } from "../../contract/errors.ts";
import { LIMITS } from "../../contract/limits.ts";
import type { Unsafe } from "../../contract/records.ts";
import type { SnapshotInfo } from "../../contract/time-travel.ts";
import { costOf, type Kernel, privateMemoryOf, type Snapshot } from "../../execution/index.ts";
import { newSnapshotId } from "../../platform/ids.ts";

/** A moment of the session's memory. Executions that change nothing share the one before them. */
export type MemoryState = string;

export interface Kept {
  readonly info: SnapshotInfo;
  readonly snapshot: Snapshot;
  readonly state: MemoryState;
}

/** What has become of a snapshot's process, and the way to another one for it. `renew` throws what `copy` throws. */
export interface Loan<T> {
  readonly used: T;
  readonly renew: (copy: () => Promise<Snapshot>) => Promise<void>;
}

/** One whose process may be replaced: it goes on as a kernel, and another copy of the same state stands in for it. */
interface Held extends Kept {
  snapshot: Snapshot;
  lent: boolean;
  /** How many copy its process at the moment. */
  users: number;
}

/** Where the session stands when a snapshot is made. */
export interface Moment {
  readonly session: string;
  readonly execution: string | null;
  readonly generation: number;
  readonly revision: number;
  readonly state: MemoryState;
}

/** Between the making of a snapshot and the measuring of all: what follows in a burst is measured once. */
const MEASURE_MS = 200;
const NOTED = 1_000;

export class Snapshots {
  readonly #budget: number;
  /** The session's kernel, as long as it lives. */
  readonly #kernel: () => Kernel | null;
  /** Executions that changed nothing, with the state that they left as it was; the newest. */
  readonly #same = new Map<string, MemoryState>();
  /** Oldest first. */
  #kept: Held[] = [];
  /** Executions whose state snapshots held that were given up for newer ones, by the ids of these; the newest. */
  readonly #past = new Map<string, string | null>();
  #measuring: NodeJS.Timeout | null = null;
  /** What a transaction that is under way would go back to. */
  #held: Kept | null = null;

  /** `budget`: bytes that all of them together may take beyond what they share with the session. */
  constructor(budget: number, kernel: () => Kernel | null) {
    this.#budget = budget;
    this.#kernel = kernel;
  }

  /** Newest first. */
  list(): SnapshotInfo[] {
    return this.#kept.map(({ info }) => info).toReversed();
  }

  /** Throws `snapshot_exists` or `too_many_snapshots` when there can be none of this name. */
  checkName(name: string): void {
    if (this.#kept.some(({ info }) => info.name === name)) {
      throw new ExecuteCodeError("snapshot_exists", {
        message: `There is a snapshot named ${name} already.`,
      });
    }
    const named = this.#kept.filter(({ info }) => info.name !== null).length;
    if (named >= LIMITS.namedSnapshots) {
      throw new ExecuteCodeError("too_many_snapshots", {
        message: `The session has ${named} snapshots with names, and may have no more.`,
      });
    }
  }

  add(snapshot: Snapshot, moment: Moment, name: string | null, unsafe: Unsafe[]): Kept {
    const { session, execution, generation, revision, state } = moment;
    const info: SnapshotInfo = {
      id: newSnapshotId(),
      name,
      session,
      execution,
      generation,
      revision,
      created_at: new Date().toISOString(),
      private_bytes: null,
      unsafe,
    };
    const kept = { info, snapshot, state, lent: false, users: 0 };
    this.#kept.push(kept);
    this.#forgetWithItsProcess(kept);
    for (const old of this.#automatic().slice(0, -LIMITS.liveSnapshots))
      if (this.#isDispensable(old)) this.#giveUp(old);
    if (this.#measuring === null) {
      this.#measuring = setTimeout(() => {
        this.#measuring = null;
        void this.#measure();
      }, MEASURE_MS).unref();
    }
    return kept;
  }

  /** It is not given up for the policy's sake or its cost until another one is held, or none. */
  hold(kept: Kept | null): void {
    this.#held = kept;
  }

  #isDispensable(kept: Held): boolean {
    return kept !== this.#held && !kept.lent && kept.users === 0;
  }

  #forgetWithItsProcess(kept: Held): void {
    void kept.snapshot.gone.then(() => {
      if (!kept.lent) this.#kept = this.#kept.filter((one) => one !== kept);
    });
  }

  /** Its process is copied (`use`): it is not given up for the policy's sake or its cost before that is over. */
  async use<T>(kept: Held, use: (snapshot: Snapshot) => Promise<T>): Promise<T> {
    kept.users++;
    try {
      return await use(kept.snapshot);
    } finally {
      kept.users--;
    }
  }

  /**
   * Its process goes on as a kernel (`use`). It stays listed and is kept whatever it costs, and is itself again when
   * `renew` has been given another copy of the same state, which has to happen before anything can change that; when
   * there can be none it is given up. Throws what `use` throws; then all is as it was.
   */
  async lend<T>(kept: Kept, use: (snapshot: Snapshot) => Promise<T>): Promise<Loan<T>> {
    const lent = this.#kept.find((one) => one === kept);
    if (lent === undefined) throw new ExecuteCodeError("unknown_snapshot");
    lent.lent = true;
    try {
      const used = await use(lent.snapshot);
      return { used, renew: (copy) => this.#renew(lent, copy) };
    } catch (error) {
      lent.lent = false;
      if (!lent.snapshot.alive) this.#drop(lent);
      throw error;
    }
  }

  async #renew(lent: Held, copy: () => Promise<Snapshot>): Promise<void> {
    try {
      const snapshot = await copy();
      // Meanwhile it may have been given up.
      if (!this.#kept.includes(lent)) return snapshot.drop();
      lent.snapshot = snapshot;
      lent.lent = false;
      this.#forgetWithItsProcess(lent);
    } catch (error) {
      this.#drop(lent);
      throw error;
    }
  }

  #automatic(): Held[] {
    return this.#kept.filter(({ info }) => info.name === null);
  }

  /** One that holds exactly this state. */
  exact(state: MemoryState): Held | null {
    return this.#kept.findLast((kept) => kept.snapshot.alive && kept.state === state) ?? null;
  }

  /** One that holds exactly this state, and that the kernel has not moved away from by itself. */
  twin(state: MemoryState): Kept | null {
    const exact = this.exact(state);
    return exact?.snapshot.still === true ? exact : null;
  }

  /** The newest of these executions' that holds another state. */
  before(state: MemoryState, line: ReadonlySet<string>): Kept | null {
    const earlier = (kept: Held): boolean =>
      kept.snapshot.alive &&
      kept.state !== state &&
      (kept.info.execution === null || line.has(kept.info.execution));
    return (
      this.#kept
        .filter(earlier)
        .toSorted((one, other) => one.info.revision - other.info.revision)
        .at(-1) ?? null
    );
  }

  /** The execution changed nothing: it left this state. */
  note(execution: string, state: MemoryState): void {
    remember(this.#same, execution, state);
  }

  /** One that holds the state after an execution. */
  at(execution: string | null): Held | null {
    return execution === null ? null : this.exact(this.#same.get(execution) ?? execution);
  }

  has(ref: string): boolean {
    return this.#find(ref) !== null;
  }

  /** By its id or name, or by an execution whose state it holds. Throws `unknown_snapshot`. */
  find(ref: string): Held {
    const found = this.#find(ref);
    if (found !== null) return found;
    throw new ExecuteCodeError("unknown_snapshot", {
      message: `The session has no live snapshot \`${ref.slice(0, 80)}\`.`,
    });
  }

  #find(ref: string): Held | null {
    const found =
      this.#kept.findLast(({ info }) => info.id === ref || info.name === ref) ??
      this.exact(this.#same.get(ref) ?? ref);
    return found?.snapshot.alive === true || found?.lent === true ? found : null;
  }

  /** Throws `unknown_snapshot`. */
  drop(ref: string): SnapshotInfo {
    const kept = this.find(ref);
    this.#drop(kept);
    return kept.info;
  }

  /** For the policy's sake, or its cost. */
  #giveUp(kept: Held): void {
    remember(this.#past, kept.info.id, kept.info.execution);
    this.#drop(kept);
  }

  /** The execution whose state a snapshot held that has been given up; null for one that is not known. */
  pastOf(id: string): string | null {
    return this.#past.get(id) ?? null;
  }

  #drop(kept: Held): void {
    this.#kept = this.#kept.filter((one) => one !== kept);
    kept.snapshot.drop();
  }

  clear(): void {
    const all = this.#kept;
    this.#kept = [];
    for (const { snapshot } of all) snapshot.drop();
  }

  /** Learns what each takes, and gives up the oldest of the policy's while all take more than they may. */
  async #measure(): Promise<void> {
    const kernel = this.#kernel();
    const family = this.#kept.map(({ snapshot }) => snapshot.pid);
    const cost = await costOf(family, kernel === null ? [] : [kernel.pid]);
    await Promise.all(
      this.#kept.map(async (kept) => {
        (kept.info as { private_bytes: number | null }).private_bytes = await privateMemoryOf(
          kept.snapshot.pid,
        );
      }),
    );
    const oldest = this.#automatic().find((kept) => this.#isDispensable(kept));
    if (cost <= this.#budget || oldest === undefined) return;
    this.#giveUp(oldest);
    await oldest.snapshot.gone;
    await this.#measure();
  }
}

/** The oldest is forgotten beyond the bound. */
function remember<T>(known: Map<string, T>, key: string, value: T): void {
  known.set(key, value);
  const [oldest] = known.keys();
  if (known.size > NOTED && oldest !== undefined) known.delete(oldest);
}
