/**
 * The JSON REPL (`execute-code repl --json`): a request a line in, lines of JSON out.
 *
 * Requests are done one after another, in the order of their lines; `interrupt` and `input` act at once. Every line that
 * comes out has the `id` of the request that it answers, or null for one that has none:
 *
 *   code       the events of the execution, to `end` with its record (or `detached`, when `timeout_ms` is over first)
 *   all else   one line of type `answer`
 *   any        a line with an `error` in place of what could not be done; the REPL goes on
 */
import { z } from "zod";
import { CompleteBody, ExecuteBody, ForkBody, RollbackBody, SnapshotBody } from "./api.ts";
import { ErrorBody } from "./errors.ts";
import {
  AcceptedEvent,
  DetachedEvent,
  DisplayEvent,
  EndEvent,
  InputEvent,
  OutputEvent,
  ProgressEvent,
} from "./events.ts";

/** Names a request, for what comes out of it, and for `interrupt` and `input`. Any JSON. */
const id = z.json().optional();
/** The session's name or id. Default: the one that the REPL was started with. */
const session = ExecuteBody.shape.session.unwrap().optional();

export const RunRequest = z.strictObject({
  id,
  session,
  code: z.string(),
  /** How long until `on_timeout` happens, milliseconds, queueing included. Default: as long as it takes. */
  timeout_ms: ExecuteBody.shape.timeout_ms.unwrap().optional(),
  /** `interrupt` the code then (default), or `detach`: it runs on, and the next request begins. */
  on_timeout: ExecuteBody.shape.on_timeout.unwrap().optional(),
  /** When it fails: `keep` what it changed in memory (default), or `rollback` to the memory before it. */
  on_error: ExecuteBody.shape.on_error.unwrap().optional(),
  /** How long `input()` waits for an answer, milliseconds. Default: as long as it takes. */
  input_timeout_ms: ExecuteBody.shape.input_timeout_ms.unwrap().optional(),
  /** Environment variables for this execution alone. */
  env: ExecuteBody.shape.env.unwrap().optional(),
});
export type RunRequest = z.infer<typeof RunRequest>;

/**
 * Answers a question of the code: one line, or null for the end of input. Of the request of this id; without one, of
 * the last code request above. It may come before the question. At the end of standard input questions that nobody has
 * answered get null.
 */
export const InputRequest = z.strictObject({
  id,
  input: z
    .string()
    .max(64 * 1024)
    .nullable(),
});

/** Interrupts the code of the request with this id, or what runs when it is null; a request that waits is dropped. */
export const InterruptRequest = z.strictObject({ interrupt: z.json() });

/** A summary of every variable (null), or a closer look at one, `depth` levels of its parts. */
export const InspectRequest = z.strictObject({
  id,
  session,
  inspect: z.string().nullable(),
  depth: z.int().min(0).max(4).optional(),
});

/** What could stand at `cursor`, an offset in UTF-16 as JavaScript's, and whether the code is a whole cell. */
export const CompleteRequest = z.strictObject({
  id,
  session,
  complete: CompleteBody.shape.code,
  /** Default: only whether it is a whole cell. */
  cursor: z.int().min(0).optional(),
});

/** Keeps the session's memory under a name, or without one (null). */
export const SnapshotRequest = z.strictObject({
  id,
  session,
  snapshot: SnapshotBody.shape.name.unwrap().nullable(),
});

/** Back to a snapshot or an execution; null: to before the last execution that changed something. */
export const RollbackRequest = z.strictObject({
  id,
  session,
  rollback: RollbackBody.shape.to.unwrap().nullable(),
});

/** A new session of this name with a copy of the session's memory. */
export const ForkRequest = z.strictObject({ id, session, fork: ForkBody.shape.names.unwrap().element });

/** A new kernel: the session's variables are dropped. */
export const ResetRequest = z.strictObject({ id, session, reset: z.literal(true) });

const REQUESTS = {
  code: RunRequest,
  input: InputRequest,
  interrupt: InterruptRequest,
  inspect: InspectRequest,
  complete: CompleteRequest,
  snapshot: SnapshotRequest,
  rollback: RollbackRequest,
  fork: ForkRequest,
  reset: ResetRequest,
} as const;

export const REPL_REQUESTS: Readonly<Record<keyof typeof REQUESTS, z.ZodObject>> = REQUESTS;
export type ReplRequestKind = keyof typeof REQUESTS;
export type ReplRequest<K extends ReplRequestKind = ReplRequestKind> = z.infer<(typeof REQUESTS)[K]>;

const head = { id: z.json() };

/** What comes out, one a line. */
export const ReplLine = z.union([
  /** An execution begins, or waits for its session; `execution` is its id. */
  AcceptedEvent.extend({ ...head, execution: z.string() }),
  OutputEvent.extend(head),
  DisplayEvent.extend(head),
  ProgressEvent.extend(head),
  InputEvent.extend(head),
  EndEvent.extend(head),
  DetachedEvent.extend(head),
  /** As the HTTP API answers. */
  z.object({ ...head, type: z.literal("answer"), answer: z.json() }),
  z.object({ ...head, error: ErrorBody }),
]);
export type ReplLine = z.infer<typeof ReplLine>;
