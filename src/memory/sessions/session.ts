/**
 * A session that this daemon owns: its queue, its kernel, and the writing of its history.
 *
 * States: dormant (no kernel; the next execution starts one) → starting → idle ⇄ busy → closed.
 * A kernel that dies leaves the session crashed, which is dormant with variables lost. One execution runs at a time,
 * in the order of acceptance.
 */
import { createHash } from "node:crypto";
import { type ExecuteBody, type Installation, InstallBody } from "../../contract/api.ts";
import { ExecuteCodeError } from "../../contract/errors.ts";
import { LIMITS } from "../../contract/limits.ts";
import type {
  ExecutionRecord,
  InstalledPackage,
  OnBusy,
  SessionInfo,
  SessionMemory,
  SessionState,
  VariableDetail,
  VariableInfo,
} from "../../contract/records.ts";
import {
  type Kernels,
  limitExceeded,
  type Packages,
  type Placed,
  requirement,
} from "../../execution/index.ts";
import { newExecutionId } from "../../platform/ids.ts";
import type { Logger } from "../../platform/logger.ts";
import type { Artifacts } from "../artifacts.ts";
import { type Ending, Execution, type StopReason } from "../executions/execution.ts";
import { LateOutputs } from "../executions/late.ts";
import type { Acceptance, AcceptedExecution, Store, StoredSession } from "../ports/store.ts";

export interface SessionContext {
  readonly store: Store;
  readonly artifacts: Artifacts;
  readonly kernels: Kernels;
  readonly packages: Packages;
  readonly log: Logger;
  /** Told of every execution as it is accepted and when its record is stored. */
  readonly onAccepted: (execution: Execution) => void;
  readonly onRecorded: (execution: Execution) => void;
}

/** An execution of this session, or an earlier one that a repeated request already has. */
export type Submitted = { readonly execution: Execution } | { readonly duplicate: string };

/** How long until a record that the disk refused is offered again. */
const RECORD_RETRY_MS = 1_000;

export class Session {
  readonly #context: SessionContext;
  readonly #stored: StoredSession;
  readonly #queue: Execution[] = [];
  #placed: Placed | null;
  #running: Execution | null = null;
  #state: SessionState;
  #generation: number;
  #revision: number;
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

  /** `placed`: the warm kernel of a new session. `created`: the storing of a new session, which may be under way. */
  constructor(
    context: SessionContext,
    stored: StoredSession,
    placed: Placed | null,
    created: Promise<void> = Promise.resolve(),
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
    return this.#queue.length + (this.#running === null ? 0 : 1);
  }

  get live(): boolean {
    return this.#placed !== null;
  }

  /** Idle, with a kernel: what is accepted now runs at once. */
  get #ready(): boolean {
    return this.#placed !== null && this.#pumping === null;
  }

  info(): SessionInfo {
    const { id, name, language, owner, epoch, durability, isolation, profile, on_busy, python, created_at } =
      this.#stored;
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
      on_busy,
      python,
      workspace: this.#context.kernels.workspace(id, profile),
      created_at,
      closed_at: this.#closedAt,
      queued: this.#queue.length,
      running: this.#running?.id ?? null,
      pid: this.#placed?.kernel.pid ?? null,
    };
  }

  /**
   * Journals the request and queues it. Nothing has run when this fails: with `session_closed`, `session_busy`,
   * `queue_full`, `idempotency_conflict`, or a storage error.
   */
  async submit(request: ExecuteBody): Promise<Submitted> {
    if (this.#closedAt !== null) throw closed(this.name);
    if (this.#queue.length >= LIMITS.queueLength) throw new ExecuteCodeError("queue_full");
    if (!this.#repeats(request.idempotency_key)) this.#checkBusy(request.on_busy ?? this.#stored.on_busy);
    this.#accepting.add(request);
    try {
      return await this.#accept(request);
    } finally {
      this.#accepting.delete(request);
    }
  }

  /** Whether the session is busy with an earlier request of this key. */
  #repeats(key: string | undefined): boolean {
    if (key === undefined) return false;
    const all = this.#running === null ? this.#queue : [this.#running, ...this.#queue];
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

  async #accept(request: ExecuteBody): Promise<Submitted> {
    const { store } = this.#context;
    const now = new Date().toISOString();
    const accepted: AcceptedExecution = {
      id: newExecutionId(),
      session_id: this.id,
      session: this.name,
      epoch: this.epoch,
      language: this.#stored.language,
      code: request.code,
      cause: { kind: "client", client: request.client },
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
    this.#queue.push(execution);
    this.#pump();
    return { execution };
  }

  /** Asks an execution of this session to stop; one that waits is withdrawn. */
  async stop(execution: Execution, reason: StopReason): Promise<void> {
    const waiting = this.#queue.indexOf(execution);
    if (waiting !== -1) {
      this.#queue.splice(waiting, 1);
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
    return this.#placed === null ? [] : this.#placed.kernel.inspect(null);
  }

  /** Throws `unknown_variable`, or `session_busy` after the wait. */
  async variable(name: string, depth: number, waitMs: number): Promise<VariableDetail> {
    await this.#untilIdle(waitMs);
    if (this.#placed === null) {
      throw new ExecuteCodeError("unknown_variable", {
        message: `The session ${this.name} has no kernel at the moment, so no variable \`${name}\`.`,
      });
    }
    return this.#placed.kernel.inspect(name, depth);
  }

  async #untilIdle(waitMs: number): Promise<void> {
    if (this.#closedAt !== null) throw closed(this.name);
    if (this.#running === null && this.#queue.length === 0) return;
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
    await this.#clear("The daemon stopped.");
    this.#state = "dormant";
  }

  async #clear(message: string): Promise<void> {
    await this.#withdraw(message);
    const running = this.#running;
    if (running !== null) running.stop = "killed";
    const placed = this.#placed;
    this.#placed = null;
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

  /** Ends what waits in the queue. */
  async #withdraw(message: string): Promise<void> {
    const waiting = this.#queue.splice(0);
    await Promise.all(waiting.map((execution) => this.#record(execution, { kind: "withdrawn", message })));
  }

  #pump(): void {
    this.#pumping ??= this.#runQueue().finally(() => {
      this.#pumping = null;
      const idle = this.#idle;
      this.#idle = [];
      for (const wake of idle) wake();
    });
  }

  async #runQueue(): Promise<void> {
    for (let execution = this.#queue.shift(); execution !== undefined; execution = this.#queue.shift()) {
      this.#running = execution;
      try {
        await this.#run(execution);
      } finally {
        this.#running = null;
      }
    }
  }

  async #run(execution: Execution): Promise<void> {
    let placed = this.#placed;
    if (placed === null) {
      this.#state = "starting";
      try {
        placed = await this.#startKernel();
      } catch (error) {
        this.#state = "dormant";
        const reason =
          error instanceof ExecuteCodeError ? error : new ExecuteCodeError("kernel_start_failed");
        this.#context.log.warn({ session: this.id, err: error }, "no kernel");
        await this.#record(
          execution,
          { kind: "withdrawn", message: `${reason.message} ${reason.remedy}` },
          reason,
        );
        return;
      }
    }
    if (execution.stop !== null) {
      await this.#record(execution, { kind: "withdrawn", message: "It was withdrawn before it ran." });
      return;
    }
    this.#state = "busy";
    const startedAt = execution.start({
      generation: this.#generation,
      revision: ++this.#revision,
      state: this.#memory,
    });
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
    if (outcome.kind === "done") {
      this.#memory = "retained";
      this.#state = "idle";
    }
    execution.late = this.#late.takeNews();
    await this.#record(execution, outcome);
    if (execution.run.stop_on_error && (outcome.kind === "gone" || outcome.frame.status !== "ok")) {
      await this.#withdraw(`${execution.id} failed before it, and was to stop what waits.`);
    }
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
    const placed = await this.#context.kernels.launch(this.id, this.#stored);
    try {
      await this.#context.store.beginGeneration(this.id, this.epoch, this.#generation + 1);
    } catch (error) {
      await placed.close();
      throw error;
    }
    this.#generation++;
    this.#attach(placed);
    return placed;
  }

  #attach(placed: Placed): void {
    this.#placed = placed;
    if (this.#generation === 0) this.#generation = 1;
    this.#state = "idle";
    placed.kernel.onLateOutput = (execution, stream, bytes) => this.#late.add(execution, stream, bytes);
    void placed.kernel.gone.then(() => {
      if (this.#placed !== placed) return;
      this.#placed = null;
      this.#memory = "lost";
      if (this.#closedAt === null) this.#state = "crashed";
      void placed.close();
    });
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
    await this.#context.store.finish({ record, epoch: this.epoch, timeline });
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
      folder: kernels.packages(this.id),
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

function closed(name: string): ExecuteCodeError {
  return new ExecuteCodeError("session_closed", { message: `The session ${name} is closed.` });
}

function digestOf(session: string, code: string): string {
  return createHash("sha256").update(`${session}\u0000${code}`).digest("hex");
}
