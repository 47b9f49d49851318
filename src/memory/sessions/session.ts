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
  type CompleteBody,
  type Completion,
  ExecuteBody,
  type Installation,
  InstallBody,
} from "../../contract/api.ts";
import { ExecuteCodeError } from "../../contract/errors.ts";
import type { DoneFrame, MergedFrame } from "../../contract/frames.ts";
import { LIMITS } from "../../contract/limits.ts";
import type {
  Cause,
  ExecutionRecord,
  InstalledPackage,
  OnBusy,
  SessionInfo,
  VariableDetail,
  VariableInfo,
} from "../../contract/records.ts";
import type { CaptureManifest } from "../../contract/time-travel.ts";
import {
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
import type { Captures, Incoming } from "../captures/captures.ts";
import { type Ending, Execution, type StopReason } from "../executions/execution.ts";
import { LateOutputs } from "../executions/late.ts";
import type { Acceptance, AcceptedExecution, Store, StoredSession } from "../ports/store.ts";
import { Line } from "./line.ts";
import { mergeEffect } from "./merge-effect.ts";
import type { MemoryState } from "./snapshots.ts";
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

/** How long until a record that the disk refused is offered again. */
const RECORD_RETRY_MS = 1_000;
/** Between an answer and what can be done when nobody waits for it. */
const SETTLE_MS = 5;

export class Session {
  readonly #context: SessionContext;
  readonly #stored: StoredSession;
  readonly #turns = new Turns();
  #running: Execution | null = null;
  /** Its kernel, and where the memory stands. */
  readonly #line: Line;
  #revision: number;
  /** Names of captures that code has asked for, to be made when it is over. */
  #checkpoints: string[] = [];
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
   * what its memory holds, where that is known.
   */
  constructor(
    context: SessionContext,
    stored: StoredSession,
    placed: Placed | null,
    created: Promise<void> = Promise.resolve(),
    state: MemoryState | null = null,
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
    this.#revision = stored.revision;
    this.#closedAt = stored.closed_at;
    this.#packages = stored.packages;
    this.#line = new Line(context, stored, {
      running: () => this.#running !== null,
      idle: () => this.load === 0,
      revision: () => this.#revision,
      exclusively: (work) => this.#exclusively(work),
      onLateOutput: (execution, stream, bytes) => this.#late.add(execution, stream, bytes),
    });
    this.#line.begin(placed, state);
  }

  /** Its kernel, its snapshots and captures: all that concerns its memory and no execution. */
  get line(): Line {
    return this.#line;
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
    return this.#line.live;
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
      state: this.#closedAt === null ? this.#line.state : "closed",
      generation: this.#line.generation,
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
      head: this.#line.head,
      python,
      workspace: this.#context.kernels.workspace(stored.folder, profile),
      created_at,
      closed_at: this.#closedAt,
      queued: this.#turns.executions.length,
      running: this.#running === null || this.#running.settled ? null : this.#running.id,
      pid: this.#line.placed?.kernel.pid ?? null,
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

  #newExecution(request: ExecuteBody, cause: Cause): Execution {
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
    return execution;
  }

  async #accept(request: ExecuteBody, cause: Cause): Promise<Submitted> {
    const { store } = this.#context;
    const execution = this.#newExecution(request, cause);
    const { accepted } = execution;
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
      this.#line.placed?.kernel.kill();
      return;
    }
    this.#escalate(execution);
  }

  /** Interrupt, interrupt again, kill: with the grace time in between. */
  #escalate(execution: Execution): void {
    const still = (): boolean => this.#running === execution && this.#line.placed !== null;
    const interrupt = (): void => {
      execution.interrupts += 1;
      this.#line.placed?.kernel.interrupt(execution.interrupts);
    };
    const steps: Array<() => void> = [interrupt, interrupt, () => this.#line.placed?.kernel.kill()];
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
    const kernel = await this.#line.bringBack();
    return kernel === null ? [] : kernel.inspect(null);
  }

  /** Throws `unknown_variable`, or `session_busy` after the wait. */
  async variable(name: string, depth: number, waitMs: number): Promise<VariableDetail> {
    await this.#untilIdle(waitMs);
    const kernel = await this.#line.bringBack();
    if (kernel === null) {
      throw new ExecuteCodeError("unknown_variable", {
        message: `The session ${this.name} has no kernel at the moment, so no variable \`${name}\`.`,
      });
    }
    return kernel.inspect(name, depth);
  }

  /** See the route. Throws `session_busy` after the wait, and `kernel_gone`. */
  async complete({ code, cursor, start }: CompleteBody, waitMs: number): Promise<Completion> {
    await this.#untilIdle(waitMs);
    const kernel = await this.#line.bringBack(start);
    if (kernel === null) return { matches: [], start: 0, end: 0, status: null, indent: "" };
    const { type: _type, request: _request, ...completion } = await kernel.complete(code, cursor);
    return completion;
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
    await this.#line.startAnew();
  }

  /** Ends the session and everything that it started. */
  async close(): Promise<void> {
    if (this.#closedAt !== null) return;
    const at = new Date().toISOString();
    await this.#context.store.closeSession(this.id, this.epoch, at);
    this.#closedAt = at;
    await this.#clear("The session was closed.");
  }

  /** Ends the kernel without closing the session: the daemon stops. */
  async suspend(): Promise<void> {
    if (this.#closedAt === null) await this.#line.saveLast();
    await this.#clear("The daemon stopped.");
  }

  /** Ends a session that is not to be: nothing is written down. */
  async discard(): Promise<void> {
    await this.#clear("The session could not be stored.");
  }

  async #clear(message: string): Promise<void> {
    await this.#withdraw(message);
    const running = this.#running;
    if (running !== null) running.stop = "killed";
    await this.#line.end();
    await running?.recorded.catch(() => {});
    await this.#pumping;
    // A kernel that was still starting when the session was cleared.
    await this.#line.end();
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
      if (!this.#line.settled) this.#settleSoon();
      const idle = this.#idle;
      this.#idle = [];
      for (const wake of idle) wake();
    });
  }

  async #takeTurns(): Promise<void> {
    for (let turn = this.#turns.next(); turn !== undefined; turn = this.#turns.next()) {
      await this.#line.settle();
      if (turn instanceof Task) {
        await turn.run();
        continue;
      }
      this.#running = turn;
      const over = this.#context.captures.standBack();
      try {
        await this.#run(turn);
      } finally {
        over();
        this.#running = null;
      }
      await this.#line.settle();
      if (this.#closedAt === null) this.#line.keepState();
      for (const name of this.#checkpoints.splice(0)) this.#line.checkpoint(name);
    }
  }

  /** A turn in which nothing is done, which is for what comes before every turn. */
  #settleSoon(): void {
    const timer = setTimeout(() => {
      if (!this.#line.settled) this.#exclusively(async () => {}).catch(() => {});
    }, SETTLE_MS);
    timer.unref();
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
    let kernel: Kernel;
    const transaction = execution.run.on_error === "rollback";
    try {
      ({ kernel } = await this.#line.revive());
      await this.#line.prepare(transaction);
    } catch (error) {
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
    const began = new Date().toISOString();
    const startedAt = execution.start({ revision: ++this.#revision, ...this.#line.leave() });
    execution.restore = this.#line.takeRestored();
    if (execution.accepted.started_at === null) {
      this.#context.store.markStarted(execution.id, this.epoch, startedAt).catch((error: unknown) => {
        this.#context.log.warn({ execution: execution.id, err: error }, "the start was not journalled");
      });
    }
    const unlimit = this.#limitTime(execution);
    const outcome = await kernel.execute(execution.cell, execution);
    unlimit();
    // What ran out of time leaves nothing running, wherever it has put it.
    if (outcome.kind === "done" && execution.stop === "timed_out") await kernel.killLeftover();
    const failed = outcome.kind === "gone" || outcome.frame.status !== "ok";
    if (outcome.kind === "gone" || (transaction && failed)) {
      execution.aftermath = await this.#line.undo(execution.id, began);
    } else {
      this.#line.advance(execution.id, outcome.frame);
    }
    execution.late = this.#late.takeNews();
    await this.#record(execution, outcome);
    if (execution.run.stop_on_error && failed) {
      await this.#withdraw(`${execution.id} failed before it, and was to stop what waits.`, false);
    }
  }

  /**
   * Takes in variables that another session has written down. It is an execution of the line, so that a restore knows
   * where they come from. Throws `kernel_gone`, `session_busy`, `session_closed`, storage errors.
   */
  merge(
    manifest: CaptureManifest,
    names: readonly string[],
    incoming: Incoming,
    { from, client }: { from: string; client: string },
  ): Promise<MergedFrame> {
    return this.#exclusively(async () => {
      const code = `# ${names.join(", ")} from the session ${from}`;
      const request = ExecuteBody.parse({ session: this.name, code, client });
      const execution = this.#newExecution(request, { kind: "client", client });
      const placed = await this.#line.revive();
      const before = new Set((await placed.kernel.inspect(null)).map(({ name }) => name));
      await this.#context.store.accept(execution.accepted);
      this.#context.onAccepted(execution);
      const began = execution.start({ revision: ++this.#revision, ...this.#line.leave() });
      try {
        const merged = await this.#line.takeIn(placed, manifest, names, incoming);
        const after = await placed.kernel.inspect(null);
        const frame = mergeFrame(execution.id, merged, before, after, manifest.variables, from);
        this.#line.advance(execution.id, frame);
        await this.#record(execution, { kind: "done", frame });
        this.#line.keepState();
        return merged;
      } catch (error) {
        execution.aftermath = await this.#line.undo(execution.id, began);
        const message = error instanceof Error ? error.message : String(error);
        const gone = placed.kernel.alive ? null : await placed.kernel.gone;
        await this.#record(
          execution,
          gone === null ? { kind: "withdrawn", message } : { kind: "gone", exit: gone },
        );
        throw error;
      }
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
    await this.#context.store.finish({ record, epoch: this.epoch, timeline, head: this.#line.head });
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

/** A merge, as the kernel tells of an execution. Where it took the variables from is not there to run it again. */
function mergeFrame(
  id: string,
  { variables, error }: MergedFrame,
  before: ReadonlySet<string>,
  after: readonly VariableInfo[],
  types: CaptureManifest["variables"],
  from: string,
): DoneFrame {
  const merged = new Set(variables.flatMap(({ name, outcome }) => (outcome === "merged" ? [name] : [])));
  // What has a private name, or comes late in the alphabet, is not listed.
  const listed = new Map(after.map(({ name, preview }) => [name, preview]));
  const summaries = types
    .filter(({ name }) => merged.has(name))
    .map(({ name, type }) => ({ name, type, preview: listed.get(name) ?? "" }));
  return {
    type: "done",
    id,
    status: error === null ? "ok" : "error",
    result: null,
    error:
      error === null
        ? null
        : { type: "MergeFailed", message: error, traceback: "", line: null, column: null, frames: [] },
    variables: {
      added: summaries.filter(({ name }) => !before.has(name)),
      changed: summaries.filter(({ name }) => before.has(name)),
      deleted: [],
    },
    changed: true,
    effects: [mergeEffect(from)],
    ast_hash: null,
    imports: [],
    duration_ms: 0,
    cpu_ms: 0,
    peak_memory_bytes: 0,
    unread: { stdout: 0, stderr: 0 },
    lingering: false,
  };
}

function closed(name: string): ExecuteCodeError {
  return new ExecuteCodeError("session_closed", { message: `The session ${name} is closed.` });
}

function digestOf(session: string, code: string): string {
  return createHash("sha256").update(`${session}\u0000${code}`).digest("hex");
}
