/**
 * Carries execution requests to the session's owner over the Bus, and what comes back to the caller. Today every
 * owner is this daemon; the way is the same when it is another one.
 */
import { z } from "zod";
import type { Bus, Unsubscribe } from "../collaboration/index.ts";
import { ExecuteBody } from "../contract/api.ts";
import { ExecuteCodeError } from "../contract/errors.ts";
import type { ExecutionEvent } from "../contract/events.ts";
import { LIMITS } from "../contract/limits.ts";
import type { ExecutionRecord } from "../contract/records.ts";
import type { Execution, History, Session, Sessions, StopReason } from "../memory/index.ts";

const SessionRequest = z.object({
  body: ExecuteBody,
  /** All events, or only the last one. */
  events: z.boolean(),
});
type SessionRequest = z.infer<typeof SessionRequest>;

const subjectOf = (sessionId: string): string => `session.${sessionId}`;

export class Router {
  readonly #bus: Bus;
  readonly #history: History;
  readonly #services = new Map<string, Unsubscribe>();
  #arriving = 0;

  constructor(bus: Bus, history: History) {
    this.#bus = bus;
    this.#history = history;
  }

  /** Requests that have come and are not in the history yet: their session is being opened, or the store is written. */
  get arriving(): number {
    return this.#arriving;
  }

  /** This daemon owns the session: requests for it come here. */
  own(session: Session): void {
    const service = this.#bus.serve(subjectOf(session.id), (request, signal) =>
      this.#execute(session, request as SessionRequest, signal),
    );
    this.#services.set(session.id, service);
  }

  giveUp(session: Session): void {
    this.#services.get(session.id)?.();
    this.#services.delete(session.id);
  }

  /** Runs code; events to the last one, which is `end` or `detached`. Throws platform errors. */
  async *stream(sessions: Sessions, body: ExecuteBody, signal: AbortSignal): AsyncGenerator<ExecutionEvent> {
    yield* this.#request(sessions, { body, events: true }, signal);
  }

  /** Runs code; the record at its end, or the record so far when the caller's time is over. */
  async run(sessions: Sessions, body: ExecuteBody, signal: AbortSignal): Promise<ExecutionRecord> {
    for await (const event of this.#request(sessions, { body, events: false }, signal)) {
      if (event.type === "end" || event.type === "detached") return event.record;
    }
    throw new ExecuteCodeError("connection_lost");
  }

  async *#request(
    sessions: Sessions,
    request: SessionRequest,
    signal: AbortSignal,
  ): AsyncGenerator<ExecutionEvent> {
    const { body } = request;
    checkCode(body.code);
    const wanted = {
      language: body.language,
      python: body.python,
      durability: body.durability,
      on_busy: body.on_busy,
      isolation: body.isolation,
      profile: body.profile,
    };
    const session = await this.#arrive(sessions.open(body.session, wanted, body.fresh));
    yield* this.#bus.call(subjectOf(session.id), request, signal) as AsyncIterable<ExecutionEvent>;
  }

  /** Answers the question that an execution waits with; the record so far. Throws `no_input_requested`. */
  async input(id: string, text: string | null): Promise<ExecutionRecord> {
    const execution = this.#history.live(id);
    if (execution === null) {
      const { status } = await this.#history.get(id);
      throw new ExecuteCodeError("no_input_requested", {
        message: `The execution ${id} has ended (${status}): it waits for no input.`,
      });
    }
    execution.answer(text);
    return execution.recordSoFar();
  }

  /** Stops a running or waiting execution; the record at its end. */
  async stop(sessions: Sessions, id: string, reason: StopReason): Promise<ExecutionRecord> {
    const execution = this.#history.live(id);
    if (execution === null) return this.#history.get(id);
    await sessions.owned(execution.accepted.session_id)?.stop(execution, reason);
    return execution.recorded;
  }

  async *#execute(
    session: Session,
    request: SessionRequest,
    signal: AbortSignal,
  ): AsyncGenerator<ExecutionEvent> {
    const { body, events } = request;
    const submitted = await this.#arrive(session.submit(body));
    if ("execution" in submitted) {
      yield* events
        ? this.#follow(session, submitted.execution, body, signal)
        : this.#await(session, submitted.execution, body);
      return;
    }
    const id = submitted.duplicate;
    if (events) {
      yield* this.#history.follow(id, 0, signal);
      return;
    }
    const record = await this.#history.wait(
      id,
      body.timeout_ms,
      body.on_input === "detach" ? "input" : "end",
    );
    yield { type: record.status === "running" ? "detached" : "end", record, offset: record.offset };
  }

  async #arrive<T>(step: Promise<T>): Promise<T> {
    this.#arriving += 1;
    try {
      return await step;
    } finally {
      this.#arriving -= 1;
    }
  }

  async *#await(session: Session, execution: Execution, body: ExecuteBody): AsyncGenerator<ExecutionEvent> {
    const over = callerLeaves(session, execution, body);
    const ends = [execution.recorded, over];
    if (body.on_input === "detach") ends.push(execution.asked());
    const record = await Promise.race(ends);
    if (record) {
      yield { type: "end", record, offset: record.offset };
    } else {
      const sofar = execution.recordSoFar();
      yield { type: "detached", record: sofar, offset: sofar.offset };
    }
  }

  async *#follow(
    session: Session,
    execution: Execution,
    body: ExecuteBody,
    signal: AbortSignal,
  ): AsyncGenerator<ExecutionEvent> {
    const detach = new AbortController();
    void callerLeaves(session, execution, body).then(() => detach.abort());
    // A record that could not be stored has no end event: the reader is told by the rejection.
    execution.recorded.catch(() => detach.abort());
    let offset = 0;
    const until = AbortSignal.any([signal, detach.signal]);
    for await (const event of this.#history.followLive(execution, 0, until)) {
      offset = event.offset;
      yield event;
      if (event.type === "end") return;
      if (event.type === "input" && body.on_input === "detach") break;
    }
    if (signal.aborted) return;
    const record = await Promise.race([execution.recorded, Promise.resolve(execution.recordSoFar())]);
    yield { type: "detached", record, offset };
  }
}

/**
 * Resolves when the caller's time is over and the execution goes on without it. With `on_timeout: "interrupt"` it is
 * stopped then instead, also when the caller has left before, and this never resolves.
 */
function callerLeaves(session: Session, execution: Execution, body: ExecuteBody): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(() => {
    if (body.on_timeout === "detach") resolve();
    else void session.stop(execution, "timed_out");
  }, body.timeout_ms);
  const cancel = (): void => clearTimeout(timer);
  execution.recorded.then(cancel, cancel);
  return promise;
}

/** Throws `empty_code`, `code_too_large` or `invalid_encoding`. */
function checkCode(code: string): void {
  if (code.trim() === "") throw new ExecuteCodeError("empty_code");
  const bytes = Buffer.byteLength(code);
  if (bytes > LIMITS.codeBytes) {
    const mebibytes = (n: number): string => (n / 1024 / 1024).toFixed(1);
    throw new ExecuteCodeError("code_too_large", {
      message: `The code has ${mebibytes(bytes)} MiB; one execution may carry ${mebibytes(LIMITS.codeBytes)} MiB.`,
      details: { bytes, limit: LIMITS.codeBytes },
    });
  }
  if (!code.isWellFormed()) {
    throw new ExecuteCodeError("invalid_encoding", { message: "The code contains an unpaired surrogate." });
  }
}
