/**
 * A session that this daemon owns: its queue, its kernel, and the writing of its history.
 *
 * States: dormant (no kernel; the next execution starts one) → starting → idle ⇄ busy → closed.
 * A kernel that dies leaves the session crashed, which is dormant with variables lost. One execution runs at a time,
 * in the order of acceptance.
 */
import { createHash } from "node:crypto";
import {
  CaptureBody,
  type ExecuteBody,
  type ForkBody,
  type Installation,
  InstallBody,
  type RestoreBody,
  type SnapshotBody,
} from "../../contract/api.ts";
import { ExecuteCodeError } from "../../contract/errors.ts";
import type { MergedFrame } from "../../contract/frames.ts";
import { LIMITS } from "../../contract/limits.ts";
import type {
  Cause,
  ExecutionRecord,
  InstalledPackage,
  Lineage,
  OnBusy,
  RestoreDigest,
  RestoredVariable,
  RolledBack,
  SessionInfo,
  SessionMemory,
  SessionState,
  VariableChanges,
  VariableDetail,
  VariableInfo,
} from "../../contract/records.ts";
import type {
  CaptureInfo,
  CaptureManifest,
  RestoreReport,
  Rollback,
  SnapshotInfo,
  Unsafe,
} from "../../contract/time-travel.ts";
import {
  type CaptureReceiver,
  type CaptureScope,
  type Kernel,
  type Kernels,
  limitExceeded,
  type Packages,
  type Placed,
  requirement,
} from "../../execution/index.ts";
import { newExecutionId } from "../../platform/ids.ts";
import type { Logger } from "../../platform/logger.ts";
import type { Artifacts } from "../artifacts.ts";
import { type Captures, captureInfo, type Incoming } from "../captures/captures.ts";
import { type Ending, Execution, type StopReason } from "../executions/execution.ts";
import { LateOutputs } from "../executions/late.ts";
import type {
  Acceptance,
  AcceptedExecution,
  LineExecution,
  Store,
  StoredCapture,
  StoredSession,
} from "../ports/store.ts";
import { changesSince } from "./file-changes.ts";
import { type CaptureStart, Keeper } from "./keeper.ts";
import { digestOfRestore, namesOf, newestCapture, pastOf } from "./restore.ts";
import { type Kept, type MemoryState, type Moment, Snapshots } from "./snapshots.ts";
import { Task, Turns } from "./turns.ts";

export interface SessionContext {
  readonly store: Store;
  readonly artifacts: Artifacts;
  readonly kernels: Kernels;
  readonly packages: Packages;
  readonly captures: Captures;
  readonly log: Logger;
  /** Told of every execution as it is accepted and when its record is stored. */
  readonly onAccepted: (execution: Execution) => void;
  readonly onRecorded: (execution: Execution) => void;
}

/** An execution of this session, or an earlier one that a repeated request already has. */
export type Submitted = { readonly execution: Execution } | { readonly duplicate: string };

/** What a fork gives to those who make sessions of it. */
export interface Branches {
  readonly branches: readonly Placed[];
  readonly unsafe: Unsafe[];
  readonly lineage: Lineage;
  readonly state: MemoryState;
}

/** How long until a record that the disk refused is offered again. */
const RECORD_RETRY_MS = 1_000;

export class Session {
  readonly #context: SessionContext;
  readonly #stored: StoredSession;
  readonly #turns = new Turns();
  #placed: Placed | null;
  #running: Execution | null = null;
  #state: SessionState;
  #generation: number;
  #revision: number;
  /** The execution whose state the next one begins with. */
  #head: string | null;
  /** Which of its states the memory is in. */
  #moment: MemoryState;
  readonly #snapshots: Snapshots;
  readonly #keeper: Keeper;
  /** What the last restore brought back, until an execution tells of it. */
  #restored: RestoreDigest | null = null;
  /** Names of captures that code has asked for, to be made when it is over. */
  #checkpoints: string[] = [];
  /** What the next execution says of the variables. */
  #memory: SessionMemory = "retained";
  readonly #late: LateOutputs;
  /** Requests whose executions are being journalled, and will wait or run. */
  readonly #accepting = new Set<ExecuteBody>();
  #closedAt: string | null;
  #installing: Promise<void> = Promise.resolve();
  /** What its own environment has. */
  #packages: readonly InstalledPackage[];
  #pumping: Promise<void> | null = null;
  /** Who waits for the session to run nothing. */
  #idle: Array<() => void> = [];

  /** Settles when the session is in the store. */
  readonly created: Promise<void>;

  /**
   * `placed`: the kernel of a new session. `created`: the storing of a new session, which may be under way. `state`:
   * what its memory holds.
   */
  constructor(
    context: SessionContext,
    stored: StoredSession,
    placed: Placed | null,
    created: Promise<void> = Promise.resolve(),
    state: MemoryState = stored.head ?? beginning(stored.generation),
  ) {
    this.#context = context;
    this.#stored = stored;
    this.created = created;
    this.#late = new LateOutputs(async (outputs) => {
      try {
        await context.store.appendLate(outputs, stored.epoch);
      } catch (error) {
        context.log.warn({ session: stored.id, err: error }, "late output was not stored");
      }
    });
    this.#generation = stored.generation;
    this.#revision = stored.revision;
    this.#head = stored.head;
    this.#moment = state;
    const budget = stored.profile.memory_bytes * LIMITS.snapshotShare;
    this.#snapshots = new Snapshots(budget, () => this.#placed?.kernel ?? null);
    this.#keeper = new Keeper({
      captures: context.captures,
      log: context.log,
      idle: () => this.load === 0,
      state: () => (this.live ? this.#moment : null),
      begin: (receiver, scope) => this.#beginCapture(receiver, scope),
    });
    this.#closedAt = stored.closed_at;
    this.#packages = stored.packages;
    this.#state = stored.closed_at === null ? "dormant" : "closed";
    this.#placed = null;
    if (placed !== null) this.#attach(placed);
    // A session with a past whose kernel is not here any more has lost what that kernel held.
    else if (stored.generation > 0 && stored.revision > 0) this.#memory = "lost";
  }

  get id(): string {
    return this.#stored.id;
  }

  get name(): string {
    return this.#stored.name;
  }

  get epoch(): number {
    return this.#stored.epoch;
  }

  get stored(): StoredSession {
    return this.#stored;
  }

  /** Executions that wait or run. */
  get load(): number {
    return this.#turns.length + (this.#running === null ? 0 : 1);
  }

  get live(): boolean {
    return this.#placed?.kernel.alive === true;
  }

  /** Idle, with a kernel: what is accepted now runs at once. */
  get #ready(): boolean {
    return this.live && this.#pumping === null;
  }

  info(): SessionInfo {
    const stored = this.#stored;
    const { id, name, language, owner, epoch, durability, isolation, profile, python, created_at } = stored;
    return {
      id,
      name,
      language,
      state: this.#state,
      generation: this.#generation,
      revision: this.#revision,
      owner,
      epoch,
      durability,
      isolation,
      profile,
      packages: [...this.#packages],
      on_busy: stored.on_busy,
      snapshots: stored.snapshots,
      capture: stored.capture,
      forked_from: stored.forked_from,
      head: this.#head,
      python,
      workspace: this.#context.kernels.workspace(stored.folder, profile),
      created_at,
      closed_at: this.#closedAt,
      queued: this.#turns.executions.length,
      running: this.#running?.id ?? null,
      pid: this.#placed?.kernel.pid ?? null,
    };
  }

  /**
   * Journals the request and queues it. Nothing has run when this fails: with `session_closed`, `session_busy`,
   * `queue_full`, `idempotency_conflict`, or a storage error.
   */
  async submit(
    request: ExecuteBody,
    cause: Cause = { kind: "client", client: request.client },
  ): Promise<Submitted> {
    if (this.#closedAt !== null) throw closed(this.name);
    if (this.#turns.length >= LIMITS.queueLength) throw new ExecuteCodeError("queue_full");
    if (!this.#repeats(request.idempotency_key)) this.#checkBusy(request.on_busy ?? this.#stored.on_busy);
    this.#accepting.add(request);
    try {
      return await this.#accept(request, cause);
    } finally {
      this.#accepting.delete(request);
    }
  }

  /** Whether the session is busy with an earlier request of this key. */
  #repeats(key: string | undefined): boolean {
    if (key === undefined) return false;
    const waiting = this.#turns.executions;
    const all = this.#running === null ? waiting : [this.#running, ...waiting];
    const keys = all.map((execution) => execution.accepted.idempotency?.key);
    for (const request of this.#accepting) keys.push(request.idempotency_key);
    return keys.includes(key);
  }

  /** Throws `session_busy` when that is the policy. */
  #checkBusy(policy: OnBusy): void {
    if (policy === "wait" || this.load + this.#accepting.size === 0) return;
    const running = this.#running?.id ?? null;
    throw new ExecuteCodeError("session_busy", {
      message: `The session ${this.name} is busy${running === null ? "" : ` with ${running}`}, and the policy is to refuse.`,
      details: { running },
    });
  }

  async #accept(request: ExecuteBody, cause: Cause): Promise<Submitted> {
    const { store } = this.#context;
    const now = new Date().toISOString();
    const accepted: AcceptedExecution = {
      id: newExecutionId(),
      session_id: this.id,
      session: this.name,
      epoch: this.epoch,
      language: this.#stored.language,
      code: request.code,
      cause,
      durability: request.durability ?? this.#stored.durability,
      accepted_at: now,
      started_at: this.#ready ? now : null,
      isolation: this.#stored.isolation,
      idempotency:
        request.idempotency_key === undefined
          ? null
          : {
              key: request.idempotency_key,
              digest: digestOf(this.name, request.code),
              fresh: request.idempotency_fresh,
            },
    };
    const execution = new Execution({
      accepted,
      run: request,
      artifacts: this.#context.artifacts,
      profile: this.#stored.profile,
      call: (method, params) => this.#call(execution, method, params),
    });
    // Of a new session both leave together: the store takes them in this order.
    const [acceptance] = await Promise.all<[Promise<Acceptance>, Promise<void>]>([
      store.accept(accepted),
      this.created,
    ]);
    if (acceptance.kind === "duplicate") return { duplicate: acceptance.id };
    // A repeated request starts nothing anew: only one that will run does.
    if (request.fresh && this.#revision > 0 && this.#closedAt === null) await this.reset();
    this.#context.onAccepted(execution);
    if (this.#closedAt !== null) {
      await this.#record(execution, { kind: "withdrawn", message: "The session was closed before it ran." });
      return { execution };
    }
    this.#turns.add(execution);
    this.#pump();
    return { execution };
  }

  /** Asks an execution of this session to stop; one that waits is withdrawn. */
  async stop(execution: Execution, reason: StopReason): Promise<void> {
    if (this.#turns.withdraw(execution)) {
      execution.stop = reason;
      await this.#record(execution, { kind: "withdrawn", message: "It was withdrawn before it ran." });
      return;
    }
    if (this.#running !== execution) return;
    execution.stop ??= reason;
    if (reason === "killed") {
      execution.stop = reason;
      this.#placed?.kernel.kill();
      return;
    }
    this.#escalate(execution);
  }

  /** Interrupt, interrupt again, kill: with the grace time in between. */
  #escalate(execution: Execution): void {
    const still = (): boolean => this.#running === execution && this.#placed !== null;
    const interrupt = (): void => {
      execution.interrupts += 1;
      this.#placed?.kernel.interrupt(execution.interrupts);
    };
    const steps: Array<() => void> = [interrupt, interrupt, () => this.#placed?.kernel.kill()];
    const next = (): void => {
      const step = steps.shift();
      if (step === undefined || !still()) return;
      step();
      const timer = setTimeout(next, LIMITS.interruptGraceMs);
      void execution.recorded.then(
        () => clearTimeout(timer),
        () => clearTimeout(timer),
      );
    };
    next();
  }

  /** A summary of every variable; none while there is no kernel. Waits for a running execution, within the bound. */
  async variables(waitMs: number): Promise<VariableInfo[]> {
    await this.#untilIdle(waitMs);
    await this.#bringBack();
    return this.#placed?.kernel.alive ? this.#placed.kernel.inspect(null) : [];
  }

  /** Throws `unknown_variable`, or `session_busy` after the wait. */
  async variable(name: string, depth: number, waitMs: number): Promise<VariableDetail> {
    await this.#untilIdle(waitMs);
    await this.#bringBack();
    if (!this.#placed?.kernel.alive) {
      throw new ExecuteCodeError("unknown_variable", {
        message: `The session ${this.name} has no kernel at the moment, so no variable \`${name}\`.`,
      });
    }
    return this.#placed.kernel.inspect(name, depth);
  }

  /** The variables of a session that has a past and no kernel. */
  async #bringBack(): Promise<void> {
    if (!this.live && this.#head !== null) await this.#exclusively(() => this.#revive());
  }

  async #untilIdle(waitMs: number): Promise<void> {
    if (this.#closedAt !== null) throw closed(this.name);
    if (this.#running === null && this.#turns.length === 0) return;
    const idle = Promise.withResolvers<void>();
    this.#idle.push(idle.resolve);
    const timer = setTimeout(() => {
      idle.reject(new ExecuteCodeError("session_busy", { details: { running: this.#running?.id ?? null } }));
    }, waitMs);
    try {
      await idle.promise;
    } finally {
      clearTimeout(timer);
    }
  }

  /** A new kernel at the next execution; the variables are dropped. Running and waiting executions are withdrawn. */
  async reset(): Promise<void> {
    if (this.#closedAt !== null) throw closed(this.name);
    await this.#clear("The session was reset.");
    await this.#moveTo(null, beginning(this.#generation));
    this.#memory = "retained";
    this.#state = "dormant";
  }

  /** Ends the session and everything that it started. */
  async close(): Promise<void> {
    if (this.#closedAt !== null) return;
    const at = new Date().toISOString();
    await this.#context.store.closeSession(this.id, this.epoch, at);
    this.#closedAt = at;
    await this.#clear("The session was closed.");
    this.#state = "closed";
  }

  /** Ends the kernel without closing the session: the daemon stops. */
  async suspend(): Promise<void> {
    if (this.live && this.#closedAt === null && this.#stored.capture === "idle") {
      await this.#keeper.last().catch((error: unknown) => {
        this.#context.log.warn({ session: this.id, err: error }, "the variables were not captured");
      });
    }
    await this.#clear("The daemon stopped.");
    this.#state = "dormant";
  }

  async #clear(message: string): Promise<void> {
    await this.#withdraw(message);
    const running = this.#running;
    if (running !== null) running.stop = "killed";
    const placed = this.#placed;
    this.#placed = null;
    this.#keeper.stop();
    this.#snapshots.clear();
    if (running === null) await placed?.kernel.shutDown(LIMITS.shutdownMs);
    await placed?.close();
    await running?.recorded.catch(() => {});
    await this.#pumping;
    // A kernel that was still starting when the session was cleared.
    const late = this.#placed as Placed | null;
    this.#placed = null;
    await late?.close();
    await this.#late.flush();
  }

  /** Ends what waits: the executions; with `all`, other work, too. */
  async #withdraw(message: string, all = true): Promise<void> {
    const waiting = all ? this.#turns.clear(closed(this.name)) : this.#turns.clearExecutions();
    await Promise.all(waiting.map((execution) => this.#record(execution, { kind: "withdrawn", message })));
  }

  #pump(): void {
    this.#pumping ??= this.#takeTurns().finally(() => {
      this.#pumping = null;
      const idle = this.#idle;
      this.#idle = [];
      for (const wake of idle) wake();
    });
  }

  async #takeTurns(): Promise<void> {
    for (let turn = this.#turns.next(); turn !== undefined; turn = this.#turns.next()) {
      if (turn instanceof Task) {
        await turn.run();
        continue;
      }
      this.#running = turn;
      try {
        await this.#run(turn);
      } finally {
        this.#running = null;
      }
      await this.#keepState();
      await this.#keepCheckpoints();
    }
  }

  /** Does what nothing may run beside. Throws `session_closed`, `session_busy`, and what the work throws. */
  async #exclusively<T>(work: () => Promise<T>): Promise<T> {
    if (this.#closedAt !== null) throw closed(this.name);
    return this.#turns.do(
      work,
      LIMITS.turnMs,
      () => this.#running?.id ?? null,
      () => this.#pump(),
    );
  }

  async #run(execution: Execution): Promise<void> {
    let placed: Placed;
    const transaction = execution.run.on_error === "rollback";
    try {
      placed = await this.#revive();
      if (transaction) await this.#keepForTransaction(placed);
    } catch (error) {
      if (!this.live) this.#state = "dormant";
      const reason =
        error instanceof ExecuteCodeError
          ? error
          : new ExecuteCodeError("kernel_start_failed", { cause: error });
      this.#context.log.warn({ session: this.id, err: error }, "an execution could not begin");
      await this.#record(
        execution,
        { kind: "withdrawn", message: `${reason.message} ${reason.remedy}` },
        reason,
      );
      return;
    }
    if (execution.stop !== null) {
      await this.#record(execution, { kind: "withdrawn", message: "It was withdrawn before it ran." });
      return;
    }
    this.#state = "busy";
    const began = new Date().toISOString();
    const startedAt = execution.start({
      generation: this.#generation,
      revision: ++this.#revision,
      state: this.#memory,
      parent: this.#head,
    });
    execution.restore = this.#restored;
    this.#restored = null;
    if (execution.accepted.started_at === null) {
      this.#context.store.markStarted(execution.id, this.epoch, startedAt).catch((error: unknown) => {
        this.#context.log.warn({ execution: execution.id, err: error }, "the start was not journalled");
      });
    }
    const unlimit = this.#limitTime(execution);
    const outcome = await placed.kernel.execute(execution.cell, execution);
    unlimit();
    // What ran out of time leaves nothing running, wherever it has put it.
    if (outcome.kind === "done" && execution.stop === "timed_out") await placed.kernel.killLeftover();
    const failed = outcome.kind === "gone" || outcome.frame.status !== "ok";
    if (outcome.kind === "done") {
      this.#memory = "retained";
      this.#state = "idle";
    }
    if (outcome.kind === "gone" || (transaction && failed)) {
      const rolledBack = await this.#undo(began);
      execution.aftermath = { rolledBack, state: this.#memory };
    } else {
      this.#head = execution.id;
      if (outcome.frame.changed) this.#onChange(execution.id, outcome.frame.variables);
      else this.#snapshots.note(execution.id, this.#moment);
    }
    execution.late = this.#late.takeNews();
    await this.#record(execution, outcome);
    if (execution.run.stop_on_error && failed) {
      await this.#withdraw(`${execution.id} failed before it, and was to stop what waits.`, false);
    }
  }

  // ── where the memory stands ───────────────────────────────────────────────────────────────────────────────

  /** A kernel that lives: the session's; else one from a snapshot of the same state; else a new one. */
  async #revive(): Promise<Placed> {
    const dead = this.#placed;
    if (dead?.kernel.alive) return dead;
    const kept = this.#snapshots.exact(this.#moment);
    if (dead !== null && kept !== null) {
      try {
        return await this.#succeed(dead, kept);
      } catch (error) {
        this.#context.log.warn({ session: this.id, err: error }, "no kernel from a snapshot");
      }
    }
    this.#placed = null;
    this.#snapshots.clear();
    await dead?.close();
    this.#state = "starting";
    const placed = await this.#startKernel();
    this.#moment = beginning(this.#generation);
    if (this.#head === null) return placed;
    await this.#restore(placed, null);
    // What it ran may have ended it.
    return placed.kernel.alive ? placed : await this.#startOver(placed);
  }

  /** A kernel without variables, after one that did not survive its restore. */
  async #startOver(dead: Placed): Promise<Placed> {
    this.#placed = null;
    await dead.close();
    const placed = await this.#startKernel();
    this.#moment = beginning(this.#generation);
    this.#memory = "lost";
    return placed;
  }

  #onChange(execution: string, { added, changed }: VariableChanges): void {
    this.#moment = execution;
    if (this.#stored.capture === "idle") this.#keeper.changed([...added, ...changed].map(({ name }) => name));
  }

  /**
   * Lends a kernel whose memory is that after an execution of the line: a copy of the session's or of a snapshot, else
   * a new one that is restored; `lost` are the variables that it lacks. Throws `kernel_gone`, `kernel_start_failed`.
   */
  async visit<T>(
    execution: string | null,
    work: (kernel: Kernel) => Promise<T>,
  ): Promise<{ lent: T; lost: readonly RestoredVariable[] }> {
    const { placed, lost } = await this.#copyAt(execution);
    try {
      return { lent: await work(placed.kernel), lost };
    } finally {
      await placed.close();
    }
  }

  async #copyAt(execution: string | null): Promise<{ placed: Placed; lost: readonly RestoredVariable[] }> {
    const placed = this.#placed;
    const kept = this.#snapshots.at(execution);
    if (placed !== null && kept !== null) return { placed: await placed.visit(kept.snapshot), lost: [] };
    if (placed?.kernel.alive && execution === this.#head) {
      return { placed: await this.#exclusively(() => placed.visit(placed.kernel)), lost: [] };
    }
    const fresh = await this.#context.kernels.launch(this.#stored.folder, this.#stored);
    try {
      const { variables } = await this.#fill(fresh, execution, null);
      return { placed: fresh, lost: variables.filter(({ outcome }) => outcome === "lost") };
    } catch (error) {
      await fresh.close();
      throw error;
    }
  }

  // ── on the disk ───────────────────────────────────────────────────────────────────────────────────────────

  #beginCapture(receiver: CaptureReceiver, scope: CaptureScope): Promise<CaptureStart> {
    return this.#exclusively(async () => {
      const placed = this.#placed;
      if (!placed?.kernel.alive) throw new ExecuteCodeError("kernel_gone");
      const capture = await placed.capture(receiver, scope);
      const { id, epoch } = this;
      const { execution, generation, revision, state } = this.#here;
      return { capture, state, moment: { session_id: id, epoch, execution, generation, revision } };
    });
  }

  /**
   * Writes variables down for somebody else than the disk: `receiver` gets their contents. Throws `capture_failed`,
   * `kernel_gone`, `session_busy`.
   */
  async describe(receiver: CaptureReceiver, scope: CaptureScope): Promise<CaptureManifest> {
    await this.#bringBack();
    const { capture } = await this.#beginCapture(receiver, scope);
    const timer = setTimeout(() => capture.drop(), LIMITS.captureMs);
    try {
      return await capture.manifest;
    } finally {
      clearTimeout(timer);
      capture.drop();
    }
  }

  /** Takes in variables that another session has written down. Throws `kernel_gone`, `session_busy`. */
  async merge(manifest: CaptureManifest, names: readonly string[], incoming: Incoming): Promise<MergedFrame> {
    const { captures, kernels } = this.#context;
    const { owner } = kernels.isolation.enclosure(this.#stored.isolation);
    const merged = await this.#exclusively(async () => {
      const placed = await this.#revive();
      const timer = setTimeout(() => placed.kernel.kill(), LIMITS.restoreMs);
      try {
        const provide = (folder: string): Promise<void> =>
          captures.provide(manifest, folder, owner, incoming);
        const answer = await placed.merge({ manifest, names: [...names] }, provide);
        this.#moment = `merged ${newExecutionId()}`;
        await this.#keepState();
        return answer;
      } finally {
        clearTimeout(timer);
      }
    });
    // No execution of the line made these variables: after a crash only the disk has them.
    if (this.#stored.capture === "idle") await this.#keeper.capture(null);
    return merged;
  }

  async #keepCheckpoints(): Promise<void> {
    for (const name of this.#checkpoints.splice(0)) {
      this.#keeper.capture(name).catch((error: unknown) => {
        this.#context.log.warn({ session: this.id, name, err: error }, "a checkpoint was not captured");
      });
    }
  }

  /** Newest first. */
  async captures(): Promise<CaptureInfo[]> {
    const all = await this.#context.captures.list(this.id);
    return all.map((one) => captureInfo(one, this.name));
  }

  /** Writes the variables to the disk now. Throws `capture_failed`, `kernel_gone`, `session_busy`. */
  async capture({ name }: CaptureBody): Promise<CaptureInfo> {
    if (!this.live) await this.#exclusively(() => this.#revive());
    const made =
      (await this.#keeper.capture(name ?? null)) ?? (await this.#context.captures.list(this.id))[0];
    if (made === undefined) throw new ExecuteCodeError("capture_failed");
    return captureInfo(made, this.name);
  }

  /** See the route. Throws `session_live`, `unknown_capture`, `session_busy`. */
  restore({ capture: ref }: RestoreBody): Promise<RestoreReport> {
    return this.#exclusively(async () => {
      if (ref === undefined) {
        if (this.live) throw new ExecuteCodeError("session_live");
        const before = this.#placed;
        if (before === null) {
          this.#state = "starting";
          return this.#restore(await this.#startKernel(), null);
        }
        await this.#revive();
        return { ...this.#nothingRestored(), variables: [] };
      }
      const all = await this.#context.captures.list(this.id);
      const capture = all.find(({ id, name }) => id === ref || name === ref);
      if (capture === undefined) {
        throw new ExecuteCodeError("unknown_capture", {
          message: `The session ${this.name} has no capture \`${ref}\`.`,
        });
      }
      const before = this.#placed;
      this.#placed = null;
      this.#snapshots.clear();
      await before?.close();
      await this.#moveTo(capture.execution, beginning(this.#generation));
      return this.#restore(await this.#startKernel(), capture);
    });
  }

  #nothingRestored(): RestoreReport {
    return {
      session: this.name,
      generation: this.#generation,
      capture: null,
      execution: this.#head,
      variables: [],
      replayed: [],
      duration_ms: 0,
    };
  }

  /** Makes a fresh kernel's variables those of the session's head: from a capture on its line, and by replay. */
  async #restore(placed: Placed, wanted: StoredCapture | null): Promise<RestoreReport> {
    const began = performance.now();
    try {
      const { capture, variables, replayed } = await this.#fill(placed, this.#head, wanted);
      const back = variables.filter(({ outcome }) => outcome !== "lost");
      this.#memory = back.length > 0 || variables.length === 0 ? "restored" : "lost";
      this.#moment = `restored ${this.#generation}`;
      this.#restored = digestOfRestore(variables);
      this.#state = "idle";
      if (this.#stored.capture === "idle") this.#keeper.changed([]);
      return {
        ...this.#nothingRestored(),
        capture,
        variables,
        replayed,
        duration_ms: performance.now() - began,
      };
    } catch (error) {
      this.#context.log.warn({ session: this.id, err: error }, "the variables could not be restored");
      this.#memory = "lost";
      const reason = error instanceof Error ? error.message : String(error);
      const line = await this.#context.store.line(this.#head);
      const variables = namesOf(line).map((name) => ({
        name,
        outcome: "lost" as const,
        executions: [],
        reason,
      }));
      this.#restored = digestOfRestore(variables);
      return { ...this.#nothingRestored(), variables, duration_ms: performance.now() - began };
    }
  }

  /** Makes a fresh kernel's variables those after an execution. Throws `kernel_gone` when it took too long or died. */
  async #fill(
    placed: Placed,
    execution: string | null,
    wanted: StoredCapture | null,
  ): Promise<Pick<RestoreReport, "capture" | "variables" | "replayed">> {
    const { captures, store, kernels } = this.#context;
    const line = await store.line(execution);
    const capture = wanted ?? (await newestCapture(captures, this.id, line));
    const { owner } = kernels.isolation.enclosure(this.#stored.isolation);
    const timer = setTimeout(() => placed.kernel.kill(), LIMITS.restoreMs);
    try {
      const answer = await placed.restore(
        {
          manifest: capture?.manifest ?? null,
          history: pastOf(line),
          captured: capture?.execution ?? null,
        },
        async (folder) => {
          if (capture !== null) await captures.provide(capture.manifest, folder, owner);
        },
      );
      if (answer.error !== null) throw new ExecuteCodeError("internal", { message: answer.error });
      return { capture: capture?.id ?? null, variables: answer.variables, replayed: answer.replayed };
    } finally {
      clearTimeout(timer);
    }
  }

  /** A kernel from a snapshot takes the place of the session's. */
  async #succeed(placed: Placed, kept: Kept): Promise<Placed> {
    const next = await placed.succeed(kept.snapshot);
    try {
      await this.#beginGeneration();
    } catch (error) {
      await next.close();
      throw error;
    }
    this.#attach(next);
    this.#memory = "restored";
    this.#moment = kept.state;
    placed.close().catch((error: unknown) => {
      this.#context.log.warn({ session: this.id, err: error }, "a kernel could not be ended");
    });
    return next;
  }

  /** After an execution that is not to count, or took the kernel with it: back to the state before, if it was kept. */
  async #undo(since: string): Promise<RolledBack | null> {
    const kept = this.#snapshots.exact(this.#moment);
    const placed = this.#placed;
    if (kept !== null && placed !== null) {
      try {
        await this.#succeed(placed, kept);
        return { to: this.#head, ...(await changesSince(this.info(), since)) };
      } catch (error) {
        this.#context.log.warn({ session: this.id, err: error }, "the memory could not go back");
      }
    }
    if (this.live) return null;
    this.#memory = "lost";
    return null;
  }

  async #keepForTransaction(placed: Placed): Promise<void> {
    if (this.#snapshots.exact(this.#moment) !== null) return;
    const { snapshot, unsafe } = await placed.takeSnapshot("warn");
    this.#snapshots.add(snapshot, this.#here, null, unsafe);
  }

  /** After an execution: a live snapshot, when that is the policy and the memory is in another state. */
  async #keepState(): Promise<void> {
    const placed = this.#placed;
    if (this.#stored.snapshots !== "changes" || !placed?.kernel.alive || this.#closedAt !== null) return;
    if (this.#snapshots.exact(this.#moment) !== null) return;
    try {
      const { snapshot, unsafe } = await placed.takeSnapshot("warn");
      this.#snapshots.add(snapshot, this.#here, null, unsafe);
    } catch (error) {
      this.#context.log.debug({ session: this.id, err: error }, "no snapshot after an execution");
    }
  }

  get #here(): Moment {
    return {
      session: this.name,
      execution: this.#head,
      generation: this.#generation,
      revision: this.#revision,
      state: this.#moment,
    };
  }

  async #moveTo(head: string | null, state: MemoryState): Promise<void> {
    await this.#context.store.setHead(this.id, this.epoch, head);
    this.#head = head;
    this.#moment = state;
  }

  /** Newest first. */
  snapshots(): SnapshotInfo[] {
    return this.#snapshots.list();
  }

  /** Throws `snapshot_exists`, `too_many_snapshots`, `unsafe_fork`, `fork_failed`, `session_busy`. */
  takeSnapshot({ name, on_unsafe }: SnapshotBody): Promise<SnapshotInfo> {
    return this.#exclusively(async () => {
      if (name !== undefined) this.#snapshots.checkName(name);
      const placed = await this.#revive();
      const { snapshot, unsafe } = await placed.takeSnapshot(on_unsafe);
      return this.#snapshots.add(snapshot, this.#here, name ?? null, unsafe).info;
    });
  }

  /** Throws `unknown_snapshot`. */
  dropSnapshot(ref: string): SnapshotInfo {
    return this.#snapshots.drop(ref);
  }

  /**
   * Makes the memory what it was at a snapshot; without one, at the newest with another state. Throws
   * `unknown_snapshot`, `fork_failed`, `session_busy`.
   */
  rollBack(to: string | undefined): Promise<Omit<Rollback, "session">> {
    return this.#exclusively(async () => {
      const line = await this.#context.store.line(this.#head);
      // A moment of the line that no live snapshot holds comes from the disk.
      if (to !== undefined && !this.#snapshots.has(to) && line.some(({ id }) => id === to)) {
        return this.#returnTo(to, line);
      }
      const kept = to === undefined ? this.#snapshots.before(this.#moment) : this.#snapshots.find(to);
      if (kept === null) {
        throw new ExecuteCodeError("unknown_snapshot", {
          message: "There is no snapshot of an earlier state to go back to.",
        });
      }
      const placed = this.#placed;
      if (placed === null) throw new ExecuteCodeError("kernel_gone");
      const at = line.findIndex(({ id }) => id === kept.info.execution);
      await this.#succeed(placed, kept);
      await this.#moveTo(kept.info.execution, kept.state);
      return {
        snapshot: kept.info,
        restore: null,
        to: kept.info.execution,
        abandoned: line.slice(at + 1).map(({ id }) => id),
        ...(await changesSince(this.info(), kept.info.created_at)),
      };
    });
  }

  /** Back to an execution of the line by a new kernel, whose variables are restored. */
  async #returnTo(execution: string, line: readonly LineExecution[]): Promise<Omit<Rollback, "session">> {
    const at = line.findIndex(({ id }) => id === execution);
    const before = this.#placed;
    this.#state = "starting";
    const next = await this.#startKernel();
    await before?.close();
    this.#snapshots.clear();
    await this.#moveTo(execution, beginning(this.#generation));
    const report = await this.#restore(next, null);
    return {
      snapshot: null,
      restore: digestOfRestore(report.variables),
      to: execution,
      abandoned: line.slice(at + 1).map(({ id }) => id),
      ...(await changesSince(this.info(), line[at]!.started_at)),
    };
  }

  /** Kernels for new sessions, with copies of the memory. Throws as `takeSnapshot`, and `unknown_snapshot`. */
  fork({ count, from, on_unsafe }: ForkBody): Promise<Branches> {
    return this.#exclusively(async () => {
      const kept = from === undefined ? null : this.#snapshots.find(from);
      const placed = kept === null ? await this.#revive() : this.#placed;
      if (placed === null) throw new ExecuteCodeError("kernel_gone");
      const source = kept?.snapshot ?? placed.kernel;
      const { placed: branches, unsafe } = await placed.fork(source, count, on_unsafe);
      const { id, name } = this;
      const { execution, revision, state } = kept === null ? this.#here : { ...kept.info, state: kept.state };
      return {
        branches,
        unsafe,
        state,
        lineage: { session: name, session_id: id, revision, execution },
      };
    });
  }

  /** Stops an execution that runs longer than the profile allows, until the returned function is called. */
  #limitTime(execution: Execution): () => void {
    const { profile } = this.#stored;
    if (profile.wall_ms === null) return () => {};
    const timer = setTimeout(() => {
      execution.limit = limitExceeded("wall time", profile);
      void this.stop(execution, "timed_out");
    }, profile.wall_ms);
    return () => clearTimeout(timer);
  }

  async #startKernel(): Promise<Placed> {
    const placed = await this.#context.kernels.launch(this.#stored.folder, this.#stored);
    try {
      await this.#beginGeneration();
    } catch (error) {
      await placed.close();
      throw error;
    }
    this.#attach(placed);
    return placed;
  }

  async #beginGeneration(): Promise<void> {
    await this.#context.store.beginGeneration(this.id, this.epoch, this.#generation + 1);
    this.#generation++;
  }

  #attach(placed: Placed): void {
    this.#placed = placed;
    if (this.#generation === 0) this.#generation = 1;
    this.#state = "idle";
    placed.kernel.onLateOutput = (execution, stream, bytes) => this.#late.add(execution, stream, bytes);
    void placed.kernel.gone.then(() => {
      // What becomes of a kernel's end during an execution is that execution's business.
      if (this.#placed !== placed || this.#running !== null) return;
      this.#onIdleEnd(placed);
    });
  }

  /** The kernel has ended between two executions. Snapshots of the same state can take its place. */
  #onIdleEnd(placed: Placed): void {
    if (this.#closedAt === null) this.#state = "crashed";
    if (this.#snapshots.exact(this.#moment) !== null) return;
    this.#memory = "lost";
    this.#placed = null;
    void placed.close();
  }

  /**
   * Stores the record and tells of the end. When the disk refuses, the caller is told that its code ran but is not
   * recorded, and the record is offered again until the disk takes it.
   */
  async #record(execution: Execution, outcome: Ending, reason?: ExecuteCodeError): Promise<void> {
    if (reason !== undefined) execution.fail(reason);
    try {
      await this.#store(execution, outcome);
    } catch (error) {
      this.#context.log.error({ execution: execution.id, err: error }, "a record was refused");
      const cause = error instanceof ExecuteCodeError ? error : null;
      execution.fail(
        new ExecuteCodeError("result_not_recorded", {
          message: `The code ran, but its record could not be written: ${cause?.message ?? String(error)}`,
          details: { execution: execution.id },
          cause: error,
        }),
      );
      if (cause?.code !== "stale_epoch") this.#retry(execution, outcome);
    }
  }

  async #store(execution: Execution, outcome: Ending): Promise<ExecutionRecord> {
    const record = await execution.conclude(outcome);
    const timeline = [...execution.transcript.timeline.runs(), ["x", 1] as const];
    await this.#context.store.finish({ record, epoch: this.epoch, timeline, head: this.#head });
    execution.settle(record);
    this.#context.onRecorded(execution);
    return record;
  }

  #retry(execution: Execution, outcome: Ending): void {
    const timer = setTimeout(() => {
      this.#store(execution, outcome).catch(() => this.#retry(execution, outcome));
    }, RECORD_RETRY_MS);
    timer.unref();
  }

  /**
   * Installs packages into the session's own environment, one request after the other. `asking`: the execution whose
   * code asks. Throws `invalid_request` or `install_failed`.
   */
  install(request: InstallBody, asking: Execution | null): Promise<Installation> {
    if (this.#closedAt !== null) throw closed(this.name);
    const requested = request.packages.map(requirement);
    const installation = this.#installing.then(() => this.#install(requested, request, asking));
    this.#installing = installation.then(
      () => {},
      () => {},
    );
    return installation;
  }

  async #install(
    requested: string[],
    { upgrade, timeout_ms: timeoutMs }: InstallBody,
    asking: Execution | null,
  ): Promise<Installation> {
    const { packages, kernels, store } = this.#context;
    let steps = 0;
    const result = await packages.install({
      needs: this.#stored,
      folder: kernels.packages(this.#stored.folder),
      packages: requested,
      upgrade,
      timeoutMs,
      onLine: (line) => asking?.progress({ done: ++steps, total: null, message: line.slice(0, 1_000) }),
    });
    const installed = [...result.installed];
    const at = new Date().toISOString();
    this.#packages = result.packages;
    await store.appendInstallation(
      this.id,
      this.epoch,
      { requested, installed, at, execution: asking?.id ?? null },
      result.packages,
    );
    return { requested, installed, output: result.output };
  }

  async #call(execution: Execution, method: string, params: Record<string, unknown>): Promise<unknown> {
    if (method === "install") {
      if (!this.#stored.profile.install)
        throw new Error("This session may install no packages (--no-install).");
      return (await this.install(InstallBody.parse(params), execution)).installed;
    }
    if (method === "checkpoint") {
      this.#checkpoints.push(CaptureBody.parse(params).name ?? execution.id);
      return null;
    }
    if (method !== "history") throw new Error(`unknown call ${method}`);
    const { query, limit } = params;
    const page = await this.#context.store.search({
      session: this.name,
      limit: Math.min(typeof limit === "number" ? Math.max(1, limit) : 20, LIMITS.historyPageMax),
      ...(typeof query === "string" ? { query } : {}),
    });
    return page.executions;
  }
}

/** The state of a kernel that has run nothing. */
function beginning(generation: number): MemoryState {
  return `beginning ${generation}`;
}

function closed(name: string): ExecuteCodeError {
  return new ExecuteCodeError("session_closed", { message: `The session ${name} is closed.` });
}

function digestOf(session: string, code: string): string {
  return createHash("sha256").update(`${session}\u0000${code}`).digest("hex");
}
