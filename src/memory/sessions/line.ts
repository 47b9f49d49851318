/**
 * A session's memory: the kernel that holds it, the moment of the session's history that it stands at (the head of its
 * line), and the ways to other moments: live snapshots, forks, captures.
 *
 * Nothing here may run beside an execution: what callers ask for waits for its turn (`exclusively`), all else is called
 * by the session in its own turn.
 */
import type { CaptureBody, ForkBody, RestoreBody, SnapshotBody } from "../../contract/api.ts";
import { ExecuteCodeError } from "../../contract/errors.ts";
import type { DoneFrame, MergedFrame } from "../../contract/frames.ts";
import { LIMITS } from "../../contract/limits.ts";
import type {
  Lineage,
  RestoreDigest,
  RestoredVariable,
  RolledBack,
  SessionMemory,
  SessionState,
  Unsafe,
} from "../../contract/records.ts";
import type {
  CaptureInfo,
  CaptureManifest,
  RestoreReport,
  Rollback,
  SnapshotInfo,
} from "../../contract/time-travel.ts";
import type {
  Capture,
  CaptureReceiver,
  CaptureScope,
  Kernel,
  Placed,
  Snapshot,
  StreamName,
} from "../../execution/index.ts";
import { captureInfo, type Incoming } from "../captures/captures.ts";
import type { Aftermath, Position } from "../executions/execution.ts";
import type { StoredCapture, StoredSession } from "../ports/store.ts";
import { changesSince } from "./file-changes.ts";
import { type CaptureStart, Keeper, withoutStuck } from "./keeper.ts";
import { digestOfRestore, type Filled, fill, type Keeping, namesOf } from "./restore.ts";
import { type Kept, type Loan, type MemoryState, type Moment, Snapshots } from "./snapshots.ts";

/** What the session tells its line. */
export interface LineHooks {
  readonly running: () => boolean;
  /** Nothing runs or waits. */
  readonly idle: () => boolean;
  readonly revision: () => number;
  /** Does what nothing may run beside. Throws `session_closed`, `session_busy`, and what the work throws. */
  readonly exclusively: <T>(work: () => Promise<T>) => Promise<T>;
  readonly onLateOutput: (execution: string, stream: StreamName, bytes: Buffer) => void;
}

/** What a fork gives to those who make sessions of it. */
export interface Branches {
  readonly branches: readonly Placed[];
  readonly unsafe: Unsafe[];
  readonly state: MemoryState;
}

export class Line {
  /** starting → idle ⇄ busy; crashed and dormant: no kernel until the next use. */
  state: SessionState = "dormant";
  readonly #context: Keeping;
  readonly #stored: StoredSession;
  readonly #hooks: LineHooks;
  #placed: Placed | null = null;
  #generation: number;
  #head: string | null;
  /** Which of its states the memory is in. */
  #moment: MemoryState;
  readonly #snapshots: Snapshots;
  readonly #keeper: Keeper;
  /** How many copies there have been for other sessions. */
  #copies = 0;
  /** Makes a snapshot anew whose process goes on as a kernel. */
  #renewal: (() => Promise<void>) | null = null;
  /** The newest state is being kept; all that needs the kernel as it was then waits for that. */
  #keeping: Promise<void> = Promise.resolve();
  /** Nothing has run here since the session was forked. */
  #untouched = false;
  /** What the next execution says of the variables. */
  #memory: SessionMemory = "retained";
  /** What the last restore brought back, until an execution tells of it. */
  #restored: RestoreDigest | null = null;

  constructor(context: Keeping, stored: StoredSession, hooks: LineHooks) {
    this.#context = context;
    this.#stored = stored;
    this.#hooks = hooks;
    this.#generation = stored.generation;
    this.#head = stored.head;
    this.#moment = stored.head ?? beginning(stored.generation);
    const budget = stored.profile.memory_bytes * LIMITS.snapshotShare;
    this.#snapshots = new Snapshots(budget, () => this.#placed?.kernel ?? null);
    this.#keeper = new Keeper({
      captures: context.captures,
      log: context.log,
      idle: hooks.idle,
      state: () => (this.live ? this.#moment : null),
      begin: (receiver, scope) => this.#beginCapture(receiver, scope),
    });
  }

  /** Takes over the kernel of a new session, with what its memory holds; null for a session that had none here. */
  begin(placed: Placed | null, moment: MemoryState | null): void {
    if (moment !== null) {
      this.#moment = moment;
      this.#untouched = true;
    }
    if (placed !== null) this.#attach(placed);
    // A session with a past whose kernel is not here any more has lost what that kernel held.
    else if (this.#generation > 0 && this.#stored.revision > 0) this.#memory = "lost";
  }

  get placed(): Placed | null {
    return this.#placed;
  }

  get live(): boolean {
    return this.#placed?.kernel.alive === true;
  }

  get generation(): number {
    return this.#generation;
  }

  /** The execution whose state the next one begins with; null at the beginning. */
  get head(): string | null {
    return this.#head;
  }

  get #id(): string {
    return this.#stored.id;
  }

  get #name(): string {
    return this.#stored.name;
  }

  get #capturesWhenIdle(): boolean {
    return this.#stored.capture === "idle";
  }

  // ── an execution's way ────────────────────────────────────────────────────────────────────────────────────

  /** A kernel that lives: the session's; else one from a snapshot of the same state; else a new one, restored. */
  async revive(): Promise<Placed> {
    await this.#keeping;
    const dead = this.#placed;
    if (dead?.kernel.alive) return dead;
    const kept = this.#snapshots.exact(this.#moment);
    if (dead !== null && kept !== null) {
      try {
        const placed = await this.#succeed(dead, kept);
        await this.settle();
        return placed;
      } catch (error) {
        this.#context.log.warn({ session: this.#id, err: error }, "no kernel from a snapshot");
      }
    }
    await this.#leaveKernel();
    const placed = await this.#startKernel();
    if (this.#head === null) return placed;
    await this.#restore(placed, null);
    if (placed.kernel.alive) return placed;
    // What was run for the restore has ended it.
    await this.#leaveKernel();
    this.#memory = "lost";
    return this.#startKernel();
  }

  /**
   * Before an execution: keeps the memory as it is, for a transaction, and where a forked session has only that to go
   * back to. Throws `fork_failed` or `kernel_gone` for a transaction.
   */
  async prepare(transaction: boolean): Promise<void> {
    const first = this.#untouched;
    this.#untouched = false;
    if (transaction) await this.#keepForTransaction();
    else if (first) {
      this.keepState();
      await this.#keeping;
    }
  }

  /** An execution begins: where it does. */
  leave(): Omit<Position, "revision"> {
    this.state = "busy";
    return { generation: this.#generation, state: this.#memory, parent: this.#head };
  }

  /** What a restore brought back since the last execution; told once. */
  takeRestored(): RestoreDigest | null {
    const restored = this.#restored;
    this.#restored = null;
    return restored;
  }

  /** An execution has ended, and its kernel goes on: it is the head now. */
  advance(execution: string, { changed, variables }: Pick<DoneFrame, "changed" | "variables">): void {
    this.#snapshots.hold(null);
    this.#memory = "retained";
    this.state = "idle";
    this.#head = execution;
    if (!changed) {
      this.#snapshots.note(execution, this.#moment);
      return;
    }
    this.#moment = execution;
    const names = [...variables.added, ...variables.changed].map(({ name }) => name);
    if (this.#capturesWhenIdle) this.#keeper.changed(names);
  }

  /**
   * An execution that began at `since` is not to count, or took the kernel with it: back to the memory before it, if
   * that was kept. A kernel that cannot go back keeps what the execution did.
   */
  async undo(execution: string, since: string): Promise<Aftermath> {
    const kept = this.#snapshots.exact(this.#moment);
    this.#snapshots.hold(null);
    const ended = this.#running();
    const placed = this.#placed;
    let rolledBack: RolledBack | null = null;
    if (kept !== null && placed !== null) {
      try {
        await this.#succeed(placed, kept);
        rolledBack = { to: this.#head, ended, ...(await this.#changesSince(since)) };
      } catch (error) {
        this.#context.log.warn({ session: this.#id, err: error }, "the memory could not go back");
      }
    }
    if (rolledBack === null && this.live) {
      this.#head = this.#moment = execution;
      this.#memory = "retained";
      this.state = "idle";
    } else if (rolledBack === null) {
      this.#memory = "lost";
      this.state = "crashed";
    }
    return { rolledBack, state: this.#memory };
  }

  /**
   * Sees to it that there is a snapshot of the memory as it is, also when tasks have gone on in it, and that it stays
   * until the next execution has ended. Throws `fork_failed` or `kernel_gone`.
   */
  async #keepForTransaction(): Promise<void> {
    this.#snapshots.hold(this.#snapshots.twin(this.#moment) ?? (await this.#keep()));
  }

  async #keep(): Promise<Kept | null> {
    if (this.#placed === null) return null;
    const here = this.#here;
    const { snapshot, unsafe } = await this.#placed.takeSnapshot("warn");
    return this.#snapshots.add(snapshot, here, null, unsafe);
  }

  /**
   * After an execution: begins to make a live snapshot, when that is the policy and the memory is in another state.
   * Who wants to go back to an earlier one need not wait for it.
   */
  keepState(): void {
    if (this.#stored.snapshots !== "changes" || !this.live) return;
    if (this.#snapshots.exact(this.#moment) !== null) return;
    this.#keeping = this.#keep().then(
      () => {},
      (error: unknown) => {
        this.#context.log.debug({ session: this.#id, err: error }, "no snapshot after an execution");
      },
    );
  }

  /** What nothing may run beside, with the kernel at rest. Throws as the session does. */
  #exclusively<T>(work: () => Promise<T>): Promise<T> {
    return this.#hooks.exclusively(async () => {
      await this.#keeping;
      return work();
    });
  }

  // ── kernels ───────────────────────────────────────────────────────────────────────────────────────────────

  async #startKernel(): Promise<Placed> {
    this.state = "starting";
    try {
      const placed = await this.#context.kernels.launch(this.#stored.folder, this.#stored);
      await this.#beginGeneration(placed);
      this.#attach(placed);
      this.#moment = beginning(this.#generation);
      return placed;
    } catch (error) {
      this.state = "dormant";
      throw error;
    }
  }

  /** A snapshot takes the place of the session's kernel; `settle` makes the snapshot anew. */
  async #succeed(placed: Placed, kept: Kept): Promise<Placed> {
    const lent = this.#snapshots.lend(kept, (snapshot) => placed.resume(snapshot, null));
    // Counted meanwhile: a number that no kernel gets is none the worse.
    const [{ used: next, renew }] = await Promise.all([lent, this.#countGeneration()]).catch(
      async (error: unknown) => {
        await lent.then(giveBack).catch(() => {});
        throw error;
      },
    );
    this.#generation++;
    this.#attach(next);
    this.#memory = "restored";
    this.#moment = kept.state;
    const closed = this.#keeping
      .then(() => placed.close())
      .catch((error: unknown) => {
        this.#context.log.warn({ session: this.#id, err: error }, "a kernel could not be ended");
      });
    // Where nothing more can be had, what the earlier kernel had is to be had when that has ended.
    this.#renewal = () => renew(() => copyOf(next).catch(() => closed.then(() => copyOf(next))));
    return next;
  }

  /** Nothing that has been used is still to be made ready. */
  get settled(): boolean {
    return this.#renewal === null;
  }

  /** Before anything else happens: what a rollback or fork has used is made ready for the next. */
  async settle(): Promise<void> {
    const renewal = this.#renewal;
    this.#renewal = null;
    try {
      await renewal?.();
    } catch (error) {
      if (this.live)
        this.#context.log.warn({ session: this.#id, err: error }, "a snapshot had to be given up");
    }
  }

  /** Counts the new kernel; it ends when that cannot be stored. */
  async #beginGeneration(placed: Placed): Promise<void> {
    try {
      await this.#countGeneration();
    } catch (error) {
      await placed.close();
      throw error;
    }
    this.#generation++;
  }

  #countGeneration(): Promise<void> {
    return this.#context.store.beginGeneration(this.#id, this.#stored.epoch, this.#generation + 1);
  }

  #attach(placed: Placed): void {
    this.#placed = placed;
    if (this.#generation === 0) this.#generation = 1;
    this.state = "idle";
    placed.kernel.onLateOutput = this.#hooks.onLateOutput;
    void placed.kernel.gone.then(() => {
      // What becomes of a kernel's end during an execution is that execution's business.
      if (this.#placed !== placed || this.#hooks.running()) return;
      this.state = "crashed";
      // A snapshot of the same state can take its place.
      if (this.#snapshots.exact(this.#moment) !== null) return;
      this.#memory = "lost";
      this.#placed = null;
      void placed.close();
    });
  }

  /** Ends the kernel, and its snapshots. */
  async #leaveKernel(): Promise<void> {
    const placed = this.#placed;
    this.#placed = null;
    this.#renewal = null;
    this.#snapshots.clear();
    await placed?.close();
    await this.#keeping;
    this.#snapshots.clear();
  }

  /** Ends the kernel, which may take leave when nothing runs, and all that belongs to it. */
  async end(): Promise<void> {
    this.#keeper.stop();
    if (!this.#hooks.running()) await this.#placed?.kernel.shutDown(LIMITS.shutdownMs);
    await this.#leaveKernel();
    this.state = "dormant";
  }

  /** The next kernel has no variables. */
  async startAnew(): Promise<void> {
    await this.#moveTo(null, beginning(this.#generation));
    this.#memory = "retained";
    this.#restored = null;
  }

  async #moveTo(head: string | null, moment: MemoryState): Promise<void> {
    await this.#context.store.setHead(this.#id, this.#stored.epoch, head);
    this.#head = head;
    this.#moment = moment;
  }

  get #here(): Moment {
    return {
      session: this.#name,
      execution: this.#head,
      generation: this.#generation,
      revision: this.#hooks.revision(),
      state: this.#moment,
    };
  }

  #changesSince(moment: string): ReturnType<typeof changesSince> {
    const { folder, profile } = this.#stored;
    return changesSince({ workspace: this.#context.kernels.workspace(folder, profile), profile }, moment);
  }

  /**
   * The kernel, with its variables brought back when it was gone; null for a session that has none, unless it is to
   * `start`.
   */
  async bringBack(start = false): Promise<Kernel | null> {
    if (!this.live && (start || this.#head !== null)) await this.#exclusively(() => this.revive());
    return this.live ? this.#placed!.kernel : null;
  }

  // ── snapshots and forks ───────────────────────────────────────────────────────────────────────────────────

  /** Newest first. */
  snapshots(): SnapshotInfo[] {
    return this.#snapshots.list();
  }

  /** Throws `snapshot_exists`, `too_many_snapshots`, `unsafe_fork`, `fork_failed`, `session_busy`. */
  takeSnapshot({ name, on_unsafe }: SnapshotBody): Promise<SnapshotInfo> {
    return this.#exclusively(async () => {
      if (name !== undefined) this.#snapshots.checkName(name);
      const placed = await this.revive();
      const { snapshot, unsafe } = await placed.takeSnapshot(on_unsafe);
      return this.#snapshots.add(snapshot, this.#here, name ?? null, unsafe).info;
    });
  }

  /** Throws `unknown_snapshot`. */
  dropSnapshot(ref: string): SnapshotInfo {
    return this.#snapshots.drop(ref);
  }

  /**
   * Makes the memory what it was at a snapshot; without one, at the newest with another state, or before the last change
   * that records tell of; for an execution of the line that no snapshot holds, what can be restored. Throws `unknown_snapshot`, `fork_failed`, `session_busy`.
   */
  rollBack(to: string | undefined): Promise<Omit<Rollback, "session">> {
    return this.#hooks.exclusively(async () => {
      const { store } = this.#context;
      const line = store.lineIds(this.#head);
      if (to !== undefined && !this.#snapshots.has(to)) {
        await this.#keeping;
        const execution = this.#snapshots.pastOf(to) ?? to;
        if (!this.#snapshots.has(to) && (await line).includes(execution)) {
          return this.#returnTo(execution, await line);
        }
      }
      // Between finding one and lending it nothing is waited for: the next snapshot may take its place.
      const kept =
        to === undefined
          ? this.#snapshots.before(this.#moment, new Set(await line))
          : this.#snapshots.find(to);
      if (kept === null) {
        const earlier = await this.#beforeLastChange();
        if (earlier !== null) return this.#returnTo(earlier, await line);
        throw new ExecuteCodeError("unknown_snapshot", {
          message: "There is no snapshot of an earlier state to go back to.",
        });
      }
      if (this.#placed === null) throw new ExecuteCodeError("kernel_gone");
      const { execution, created_at } = kept.info;
      const ended = this.#running();
      const [before, reached, changes] = await Promise.all([
        line,
        store.lineIds(execution),
        this.#changesSince(created_at),
        this.#goBack(this.#placed, kept),
      ]);
      // The snapshot may be of another line, with which this one has its beginning in common.
      const common = new Set(reached);
      return {
        snapshot: kept.info,
        restore: null,
        to: execution,
        abandoned: before.filter((id) => !common.has(id)),
        ended,
        ...changes,
      };
    });
  }

  /** What the session has running or connected, and no other kernel would have; null when nothing tells. */
  #running(): Unsafe[] | null {
    const unsafe = this.#snapshots.exact(this.#moment)?.info.unsafe;
    return unsafe?.filter(({ kind }) => kind === "thread" || kind === "process" || kind === "socket") ?? null;
  }

  /** The execution before the last one of the line that, as records tell, changed a variable; null when there is none. */
  async #beforeLastChange(): Promise<string | null> {
    const line = await this.#context.store.line(this.#head);
    const last = line.findLastIndex(({ variables: { added, changed, deleted } }) =>
      [added, changed, deleted].some((names) => names.length > 0),
    );
    return line[last - 1]?.id ?? null;
  }

  /** By a snapshot, whose execution is written down as the head meanwhile. */
  async #goBack(placed: Placed, kept: Kept): Promise<void> {
    const { store, log } = this.#context;
    const setHead = (head: string | null): Promise<void> => store.setHead(this.#id, this.#stored.epoch, head);
    const written = setHead(kept.info.execution);
    written.catch(() => {});
    try {
      await this.#succeed(placed, kept);
    } catch (error) {
      await written
        .then(() => setHead(this.#head))
        .catch((cause: unknown) => {
          log.warn({ session: this.#id, err: cause }, "the head was not written down as it was");
        });
      throw error;
    }
    // What the memory is now, also when the disk has refused: the next record says it again.
    this.#head = kept.info.execution;
    await written;
  }

  /** Back to an execution of the line by a new kernel, whose variables are restored. */
  async #returnTo(execution: string, line: readonly string[]): Promise<Omit<Rollback, "session">> {
    const ended = this.#running();
    const { variables } = await this.#restore(await this.#startAt(execution), null);
    const started = (await this.#context.store.getExecution(execution))?.record.started_at;
    return {
      snapshot: null,
      restore: digestOfRestore(variables),
      to: execution,
      abandoned: line.slice(line.indexOf(execution) + 1),
      ended,
      ...(await this.#changesSince(started ?? this.#stored.created_at)),
    };
  }

  /**
   * A new kernel, in place of the session's, for what can be restored of an execution of the line. One that lives ends
   * only then, and its snapshots stay: what the restore cannot bring back is not lost for good.
   */
  async #startAt(execution: string): Promise<Placed> {
    const earlier = this.#placed;
    if (earlier?.kernel.alive !== true) {
      await this.#leaveKernel();
      await this.#moveTo(execution, execution);
      return this.#startKernel();
    }
    if (this.#snapshots.exact(this.#moment) === null) await this.#keep();
    const placed = await earlier.another();
    await this.#beginGeneration(placed);
    try {
      await this.#moveTo(execution, execution);
    } catch (error) {
      await placed.close();
      throw error;
    }
    this.#attach(placed);
    await earlier.close();
    return placed;
  }

  /**
   * Kernels for new sessions, with copies of the memory. `begun` is told, as soon as nothing stands against it any more,
   * what they come from. Throws as `takeSnapshot`, and `unknown_snapshot`.
   */
  fork({ count, from, on_unsafe }: ForkBody, begun: (lineage: Lineage) => void): Promise<Branches> {
    return this.#exclusively(async () => {
      const kept = from === undefined ? null : this.#snapshots.find(from);
      if (kept !== null && on_unsafe === "refuse") checkWhole(kept.info);
      const placed = kept === null ? await this.revive() : this.#placed;
      if (placed === null) throw new ExecuteCodeError("kernel_gone");
      const { execution, revision, state } = kept === null ? this.#here : { ...kept.info, state: kept.state };
      const lineage = { session: this.#name, session_id: this.#id, revision, execution };
      let told = false;
      const begin = (): void => {
        if (!told) begun(lineage);
        told = true;
      };
      const copies = Array.from({ length: count }, () => `${this.#generation}.${++this.#copies}`);
      const twin = kept === null && count === 1 ? this.#loanable() : null;
      if (twin !== null) {
        const branch = await this.#forkTwin(twin, placed, copies[0]!, begin);
        if (branch !== null) return { branches: [branch], unsafe: [], state };
      }
      const forkOf = (source: Kernel | Snapshot): ReturnType<Placed["fork"]> =>
        placed.fork(source, copies, on_unsafe);
      const { placed: branches, unsafe } = await (kept === null
        ? forkOf(placed.kernel)
        : this.#snapshots.use(kept, forkOf));
      begin();
      return { branches, unsafe: kept === null ? unsafe : union(kept.info.unsafe, unsafe), state };
    });
  }

  /** A snapshot of the policy's that is what the kernel is, and can go on as another session's; or null. */
  #loanable(): Kept | null {
    const twin = this.#snapshots.twin(this.#moment);
    // One that somebody has named is not put at risk: where nothing more can be had, it could not be made anew.
    return twin?.info.name === null ? twin : null;
  }

  /** A snapshot goes on as another session's kernel; null when it cannot. */
  async #forkTwin(twin: Kept, placed: Placed, copy: string, meanwhile: () => void): Promise<Placed | null> {
    try {
      const { used, renew } = await this.#snapshots.lend(twin, (snapshot) =>
        placed.resume(snapshot, copy, meanwhile),
      );
      this.#renewal = () => renew(() => copyOf(placed));
      return used;
    } catch (error) {
      this.#context.log.debug({ session: this.#id, err: error }, "a snapshot could not become a session");
      return null;
    }
  }

  /**
   * Lends a kernel whose memory is that after an execution of the line: a copy of the session's or of a snapshot, else
   * a new one that is restored; `inexact` are the variables that it lacks, and those that may not be as they were.
   * Throws `kernel_gone`, `kernel_start_failed`.
   */
  async visit<T>(
    execution: string | null,
    work: (kernel: Kernel) => Promise<T>,
  ): Promise<{ lent: T; inexact: readonly RestoredVariable[] }> {
    const { placed, inexact } = await this.#copyAt(execution);
    try {
      return { lent: await work(placed.kernel), inexact };
    } finally {
      await placed.close();
    }
  }

  /** Whether a live snapshot holds the memory after an execution. */
  holds(execution: string): boolean {
    return this.#snapshots.at(execution) !== null;
  }

  /** As `describe`, of the memory after an earlier execution of the line; and what may not be there as it was. */
  async describeAt(
    execution: string,
    receiver: CaptureReceiver,
    scope: CaptureScope,
  ): Promise<{ manifest: CaptureManifest; inexact: readonly RestoredVariable[] }> {
    const { placed, inexact } = await this.#copyAt(execution);
    try {
      const manifest = await this.#manifest(scope, (own) => placed.capture(placed.kernel, receiver, own));
      return { manifest, inexact };
    } finally {
      await placed.close();
    }
  }

  async #copyAt(execution: string | null): Promise<{ placed: Placed; inexact: readonly RestoredVariable[] }> {
    const placed = this.#placed;
    const kept = this.#snapshots.at(execution);
    if (placed !== null && kept !== null) {
      return { placed: await this.#snapshots.use(kept, (snapshot) => placed.visit(snapshot)), inexact: [] };
    }
    if (placed?.kernel.alive && execution === this.#head) {
      return { placed: await this.#exclusively(() => placed.visit(placed.kernel)), inexact: [] };
    }
    const fresh = await this.#context.kernels.launch(this.#stored.folder, this.#stored);
    try {
      const { variables } = await fill(this.#context, this.#stored, fresh, execution, null);
      const inexact = variables.filter(({ outcome, reason }) => outcome === "lost" || reason !== null);
      return { placed: fresh, inexact };
    } catch (error) {
      await fresh.close();
      throw error;
    }
  }

  // ── captures ──────────────────────────────────────────────────────────────────────────────────────────────

  /**
   * In the session's turn, of the memory as it is then. A snapshot that is what the kernel is gives the copy while the
   * session goes on; without one the kernel does.
   */
  async #beginCapture(receiver: CaptureReceiver, scope: CaptureScope): Promise<CaptureStart> {
    const begun = await this.#exclusively(async () => {
      const placed = this.#placed;
      if (placed === null || !this.live) throw new ExecuteCodeError("kernel_gone");
      const { execution, generation, revision, state } = this.#here;
      const { id: session_id, epoch } = this.#stored;
      const start = { state, moment: { session_id, epoch, execution, generation, revision } };
      const twin = this.#snapshots.twin(state);
      const capturing = placed.capture(twin?.snapshot ?? placed.kernel, receiver, scope);
      if (twin === null) await capturing;
      return { start, twin, capturing };
    });
    try {
      return { ...begun.start, capture: await begun.capturing };
    } catch (error) {
      if (begun.twin?.snapshot.alive !== false) throw error;
      return this.#beginCapture(receiver, scope); // It was given up meanwhile.
    }
  }

  /** Before the kernel ends with the daemon: what is not on the disk yet, within a bounded time. */
  async saveLast(): Promise<void> {
    if (!this.live || !this.#capturesWhenIdle) return;
    try {
      await this.#keeper.last();
    } catch (error) {
      this.#context.log.warn({ session: this.#id, err: error }, "the variables were not captured");
    }
  }

  /** Writes the variables down under a name that code has given, when it can. */
  checkpoint(name: string): void {
    this.#keeper.capture(name).catch((error: unknown) => {
      this.#context.log.warn({ session: this.#id, name, err: error }, "a checkpoint was not captured");
    });
  }

  /** Newest first. */
  async captures(): Promise<CaptureInfo[]> {
    const all = await this.#context.captures.list(this.#id);
    return all.map((one) => captureInfo(one, this.#name));
  }

  /** Writes the variables to the disk now. Throws `capture_failed`, `kernel_gone`, `session_busy`. */
  async capture({ name }: CaptureBody): Promise<CaptureInfo> {
    if (!this.live) await this.#exclusively(() => this.revive());
    // Threads and tasks go on without an execution; a snapshot that is what the kernel is says that there are none.
    const moves = this.#snapshots.twin(this.#moment) === null;
    const made =
      (await this.#keeper.capture(name ?? null, moves)) ?? (await this.#context.captures.list(this.#id))[0];
    if (made === undefined) throw new ExecuteCodeError("capture_failed");
    return captureInfo(made, this.#name);
  }

  /**
   * Writes variables down for somebody else than the disk: `receiver` gets their contents, also of attempts that failed.
   * What cannot be written down is skipped, with the reason. Throws `capture_failed`, `kernel_gone`, `session_busy`.
   */
  async describe(receiver: CaptureReceiver, scope: CaptureScope): Promise<CaptureManifest> {
    await this.bringBack();
    return this.#manifest(scope, async (own) => (await this.#beginCapture(receiver, own)).capture);
  }

  /** Of a capture for somebody else than the disk, made without the variables that one hangs on or dies over. */
  #manifest(scope: CaptureScope, begin: (scope: CaptureScope) => Promise<Capture>): Promise<CaptureManifest> {
    const skip = { ...scope.skip };
    return withoutStuck(skip, this.#context.log, async (whole) => whole(await begin({ ...scope, skip })));
  }

  /** Takes in variables that another session has written down, in the session's turn. Throws `kernel_gone`. */
  async takeIn(
    placed: Placed,
    manifest: CaptureManifest,
    names: readonly string[],
    incoming: Incoming,
  ): Promise<MergedFrame> {
    const { captures, kernels } = this.#context;
    const { owner } = kernels.isolation.enclosure(this.#stored.isolation);
    const timer = setTimeout(() => placed.kernel.kill(), LIMITS.restoreMs);
    try {
      const provide = (folder: string): Promise<void> => captures.provide(manifest, folder, owner, incoming);
      return await placed.merge({ manifest, names: [...names] }, provide);
    } finally {
      clearTimeout(timer);
    }
  }

  /** See the route. Throws `session_live`, `unknown_capture`, `session_busy`. */
  restore({ capture: ref, effects }: RestoreBody): Promise<RestoreReport> {
    return this.#exclusively(async () => {
      if (ref === undefined) {
        if (this.live && !effects) throw new ExecuteCodeError("session_live");
        await this.#leaveKernel();
        return this.#restore(await this.#startKernel(), null, effects);
      }
      const all = await this.#context.captures.list(this.#id);
      const capture = all.find(({ id, name }) => id === ref || name === ref);
      if (capture === undefined) {
        throw new ExecuteCodeError("unknown_capture", {
          message: `The session ${this.#name} has no capture \`${ref}\`.`,
        });
      }
      await this.#leaveKernel();
      await this.#moveTo(capture.execution, beginning(this.#generation));
      return this.#restore(await this.#startKernel(), capture, effects);
    });
  }

  /** Makes a fresh kernel's variables those of the head: from a capture on its line, and by replay. */
  async #restore(placed: Placed, wanted: StoredCapture | null, effects = false): Promise<RestoreReport> {
    const began = performance.now();
    const { capture, variables, replayed } = await this.#fillOrLose(placed, wanted, effects);
    const back = variables.filter(({ outcome }) => outcome !== "lost");
    this.#memory = back.length > 0 || variables.length === 0 ? "restored" : "lost";
    this.#moment = `restored ${this.#generation}`;
    this.#restored = digestOfRestore(variables);
    if (this.#capturesWhenIdle) this.#keeper.changed([]);
    return {
      session: this.#name,
      generation: this.#generation,
      capture,
      execution: this.#head,
      variables,
      replayed,
      duration_ms: performance.now() - began,
    };
  }

  async #fillOrLose(placed: Placed, wanted: StoredCapture | null, effects: boolean): Promise<Filled> {
    try {
      return await fill(this.#context, this.#stored, placed, this.#head, wanted, effects);
    } catch (error) {
      this.#context.log.warn({ session: this.#id, err: error }, "the variables could not be restored");
      const reason = error instanceof Error ? error.message : String(error);
      const names = namesOf(await this.#context.store.line(this.#head));
      const variables = names.map((name) => ({ name, outcome: "lost" as const, executions: [], reason }));
      return { capture: null, variables, replayed: [] };
    }
  }
}

/** Makes a snapshot anew of the kernel that it became, which is not needed. */
async function giveBack({ used, renew }: Loan<Placed>): Promise<void> {
  try {
    await renew(() => copyOf(used));
  } finally {
    await used.close();
  }
}

/** Throws `unsafe_fork`, as a kernel does, for what the snapshot itself lacks. */
function checkWhole({ unsafe }: SnapshotInfo): void {
  if (unsafe.length === 0) return;
  const listed = unsafe.map(({ what, variable }) => (variable === null ? what : `${what} (\`${variable}\`)`));
  throw new ExecuteCodeError("unsafe_fork", {
    message: `A copy of the session would not have: ${listed.join("; ")}.`,
    details: { unsafe },
  });
}

/** What the snapshot lacks, and what its copies lack of the rest. */
function union(snapshot: readonly Unsafe[], copies: readonly Unsafe[]): Unsafe[] {
  return [...new Map([...snapshot, ...copies].map((one) => [keyOf(one), one])).values()];
}

function keyOf({ kind, what, variable }: Unsafe): string {
  return JSON.stringify([kind, what, variable]);
}

async function copyOf(placed: Placed): Promise<Snapshot> {
  return (await placed.takeSnapshot("warn")).snapshot;
}

/** The state of a kernel that has run nothing. */
function beginning(generation: number): MemoryState {
  return `beginning ${generation}`;
}
