/**
 * `repl --json`: requests as lines of JSON in, events and answers as lines of JSON out (src/contract/repl.ts).
 *
 * Lines are read as they come. Requests wait for their turn; `interrupt` and `input` are done while they are read.
 */
import { isUtf8 } from "node:buffer";
import { isDeepStrictEqual } from "node:util";
import { ERRORS, ExecuteCodeError } from "../../contract/errors.ts";
import type { ExecutionEvent } from "../../contract/events.ts";
import { issuesText } from "../../contract/issues.ts";
import { LIMITS } from "../../contract/limits.ts";
import { REPL_REQUESTS, type ReplLine, type ReplRequest, type ReplRequestKind } from "../../contract/repl.ts";
import { type Client, createClient } from "../../sdk/index.ts";
import { onReaderGone, writeJson } from "../terminal.ts";
import { type ReplFlags, wantedOf } from "./flags.ts";

type Id = ReplRequest<"interrupt">["interrupt"];

/** A request on its way: waiting → running → over. */
interface Request {
  readonly id: Id;
  /** Aborted by an interrupt. */
  readonly stop: AbortController;
  readonly run: (request: Request) => Promise<void>;
  /** Of code: the answers that no question has come for yet. */
  readonly answers: Array<string | null>;
  /** Of code: takes the next answer. */
  ask: (() => void) | null;
  readonly isCode: boolean;
}

export async function jsonRepl(flags: ReplFlags): Promise<number> {
  await using client = createClient({ client: "cli" });
  const status = await new JsonRepl(client, flags).run();
  process.stdin.destroy();
  return status;
}

class JsonRepl {
  readonly #client: Client;
  readonly #flags: ReplFlags;
  /** The one that runs comes first. */
  readonly #requests: Request[] = [];
  #running: Promise<void> | null = null;
  #ended = false;
  #status = 0;

  constructor(client: Client, flags: ReplFlags) {
    this.#client = client;
    this.#flags = flags;
  }

  /** Resolves with the exit status when the input has ended and every request is over. */
  async run(): Promise<number> {
    const signalled = this.#listenForSignals();
    onReaderGone(() => this.#interruptAll());
    for await (const line of linesOf(process.stdin, signalled)) {
      try {
        this.#take(line);
      } catch (error) {
        await this.#fail(idOf(line), error);
      }
    }
    this.#ended = true;
    for (const request of this.#requests) request.ask?.();
    while (this.#running !== null) await this.#running;
    return this.#status;
  }

  /** The first signal interrupts all and takes no more; the second leaves at once. */
  #listenForSignals(): AbortSignal {
    const signalled = new AbortController();
    for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
      process.on(signal, () => {
        if (signalled.signal.aborted) process.exit(3);
        signalled.abort();
        this.#status = 3;
        this.#interruptAll();
      });
    }
    return signalled.signal;
  }

  #interruptAll(): void {
    for (const request of this.#requests) request.stop.abort();
  }

  // ── requests ──────────────────────────────────────────────────────────────────────────────────────────────

  /** Throws for a line that is no request, and for one that has nothing to act on. */
  #take(line: Line): void {
    const [kind, request] = parse(line);
    if (kind === "interrupt") {
      this.#interrupt((request as ReplRequest<"interrupt">).interrupt);
      return;
    }
    if (kind === "input") {
      this.#answer(request as ReplRequest<"input">);
      return;
    }
    if (this.#requests.length > LIMITS.queueLength) throw new ExecuteCodeError("queue_full");
    this.#requests.push({
      id: idOf(line),
      stop: new AbortController(),
      run: kind === "code" ? this.#execute(request as ReplRequest<"code">) : this.#reply(kind, request),
      answers: [],
      ask: null,
      isCode: kind === "code",
    });
    this.#running ??= this.#work();
  }

  async #work(): Promise<void> {
    for (let request = this.#requests[0]; request !== undefined; request = this.#requests[0]) {
      try {
        if (request.stop.signal.aborted) throw dropped();
        await request.run(request);
      } catch (error) {
        await this.#fail(request.id, error);
      }
      this.#requests.shift();
      for (const _ of request.answers)
        await this.#fail(request.id, new ExecuteCodeError("no_input_requested"));
    }
    this.#running = null;
  }

  #interrupt(id: Id): void {
    const found =
      id === null ? this.#requests[0] : this.#requests.find((one) => isDeepStrictEqual(one.id, id));
    if (found === undefined) {
      throw new ExecuteCodeError("unknown_execution", {
        message: id === null ? "No request runs." : "No request of this id runs or waits.",
        remedy: "A request that has ended cannot be interrupted.",
      });
    }
    found.stop.abort();
  }

  #answer({ id = null, input }: ReplRequest<"input">): void {
    const found = this.#requests.findLast(
      (one) => one.isCode && (id === null || isDeepStrictEqual(one.id, id)),
    );
    if (found === undefined) throw new ExecuteCodeError("no_input_requested");
    found.answers.push(input);
    found.ask?.();
  }

  async #fail(id: Id, error: unknown): Promise<void> {
    const known =
      error instanceof ExecuteCodeError
        ? error
        : new ExecuteCodeError("internal", {
            message: error instanceof Error ? error.message : String(error),
            cause: error,
          });
    if (ERRORS[known.code].exit === 4) this.#status ||= 4;
    await writeJson({ id, error: known.toBody() });
  }

  // ── what they do ──────────────────────────────────────────────────────────────────────────────────────────

  #execute(asked: ReplRequest<"code">): Request["run"] {
    const session = asked.session ?? this.#flags.session;
    return async (request) => {
      const events = this.#client.stream({
        code: asked.code,
        session,
        ...(session === this.#flags.session ? wantedOf(this.#flags) : {}),
        timeoutMs: asked.timeout_ms ?? LIMITS.longestMs,
        onTimeout: asked.on_timeout ?? "interrupt",
        onError: asked.on_error,
        inputTimeoutMs: asked.input_timeout_ms ?? LIMITS.longestMs,
        env: asked.env,
        signal: request.stop.signal,
      });
      let execution = "";
      try {
        for await (const event of events) {
          if (event.type === "accepted") execution = event.id;
          await writeJson(lineOf(request.id, event));
          if (event.type === "input") this.#await(request, execution);
        }
      } finally {
        request.ask = null;
      }
    };
  }

  /** A question has come: the next answer is for it, and null once no more can come. */
  #await(request: Request, execution: string): void {
    request.ask = () => {
      if (request.answers.length === 0 && !this.#ended) return;
      request.ask = null;
      this.#client.input(execution, request.answers.shift() ?? null).catch((error: unknown) => {
        void this.#fail(request.id, error);
      });
    };
    request.ask();
  }

  #reply(kind: ReplRequestKind, asked: ReplRequest): Request["run"] {
    return async ({ id }) => {
      await writeJson({ id, type: "answer", answer: await this.#answerTo(kind, asked) });
    };
  }

  async #answerTo(kind: ReplRequestKind, asked: ReplRequest): Promise<unknown> {
    const session = ("session" in asked ? asked.session : undefined) ?? this.#flags.session;
    const client = this.#client;
    switch (kind) {
      case "inspect": {
        const { inspect, depth } = asked as ReplRequest<"inspect">;
        return inspect === null ? client.variables(session) : client.variable(session, inspect, depth);
      }
      case "complete": {
        const { complete, cursor } = asked as ReplRequest<"complete">;
        return client.complete(session, complete, cursor ?? null);
      }
      case "snapshot":
        return client.snapshot(session, (asked as ReplRequest<"snapshot">).snapshot ?? undefined);
      case "rollback":
        return client.rollback(session, (asked as ReplRequest<"rollback">).rollback ?? undefined);
      case "fork":
        return client.fork(session, { names: [(asked as ReplRequest<"fork">).fork] });
      case "reset":
        return client.resetSession(session);
      default:
        throw new Error(`${kind} is no request that is answered`);
    }
  }
}

function lineOf(id: Id, event: ExecutionEvent): ReplLine {
  if (event.type !== "accepted") return { id, ...event };
  const { id: execution, ...rest } = event;
  return { id, execution, ...rest };
}

function dropped(): ExecuteCodeError {
  return new ExecuteCodeError("unknown_execution", {
    message: "The request was interrupted before it began: nothing was run.",
    remedy: "Send it again to run it.",
  });
}

// ── lines ─────────────────────────────────────────────────────────────────────────────────────────────────────

/** A line of the input as its value, or as what is wrong with it. */
type Line = { readonly value: unknown } | { readonly error: ExecuteCodeError };

/** Throws `invalid_request`, naming what is wrong where. */
function parse(line: Line): [ReplRequestKind, ReplRequest] {
  if ("error" in line) throw line.error;
  const { value } = line;
  const kinds = Object.keys(REPL_REQUESTS) as ReplRequestKind[];
  const named = kinds.filter(
    (kind) => typeof value === "object" && value !== null && Object.hasOwn(value, kind),
  );
  const [kind] = named;
  if (kind === undefined || named.length > 1) {
    throw new ExecuteCodeError("invalid_request", {
      message: `A request is an object with one of ${kinds.join(", ")}.`,
      remedy: 'Write {"code": "1 + 1"}; docs/repl.md names them all.',
    });
  }
  const parsed = REPL_REQUESTS[kind].safeParse(value);
  if (parsed.success) return [kind, parsed.data as ReplRequest];
  throw new ExecuteCodeError("invalid_request", {
    message: `The request is not valid: ${issuesText(parsed.error, "request")}.`,
    remedy: "See docs/repl.md for the fields of each request.",
  });
}

/** The id of a request, also of one that is wrong otherwise. */
function idOf(line: Line): Id {
  const value = "value" in line ? line.value : null;
  return typeof value === "object" && value !== null && "id" in value ? ((value.id ?? null) as Id) : null;
}

/** The lines of a stream, empty ones left out, to its end or until the signal is aborted. */
async function* linesOf(source: NodeJS.ReadableStream, until: AbortSignal): AsyncGenerator<Line, void> {
  let parts: Buffer[] = [];
  let length = 0;
  const stop = (): void => void (source as NodeJS.ReadStream).destroy();
  until.addEventListener("abort", stop, { once: true });
  const take = function* (): Generator<Line, void> {
    const line = length > LIMITS.requestBytes ? null : Buffer.concat(parts);
    parts = [];
    length = 0;
    const value = line === null ? { error: tooLong() } : decode(line);
    if (value !== null) yield value;
  };
  try {
    for await (const chunk of source as AsyncIterable<Buffer>) {
      let from = 0;
      for (let end = chunk.indexOf(10); end >= 0; end = chunk.indexOf(10, from)) {
        if (length <= LIMITS.requestBytes) parts.push(chunk.subarray(from, end));
        length += end - from;
        from = end + 1;
        yield* take();
      }
      // What is too long is read to its end, and thrown away.
      if (length <= LIMITS.requestBytes) parts.push(chunk.subarray(from));
      length += chunk.length - from;
    }
  } catch (error) {
    if (!until.aborted) throw error;
  }
  if (!until.aborted) yield* take();
}

/** Null for an empty line. */
function decode(bytes: Buffer): Line | null {
  if (!isUtf8(bytes)) {
    return { error: new ExecuteCodeError("invalid_encoding", { message: "The line is not valid UTF-8." }) };
  }
  const text = bytes.toString("utf8");
  if (text.trim() === "") return null;
  try {
    return { value: JSON.parse(text) };
  } catch (cause) {
    const message = `The line is not valid JSON: ${(cause as Error).message}`;
    return { error: new ExecuteCodeError("invalid_json", { message, cause }) };
  }
}

function tooLong(): ExecuteCodeError {
  return new ExecuteCodeError("body_too_large", {
    message: `A request may have at most ${LIMITS.requestBytes / 1024 / 1024} MiB.`,
  });
}
