/**
 * The event stream of one execution, as NDJSON lines.
 *
 * Every event carries the `offset` at which following the stream goes on after it: a byte of output counts one,
 * any other event counts one. The same offsets hold while the execution runs and after it is stored, so a client
 * that lost its connection resumes exactly where it stopped.
 */
import { z } from "zod";
import { ErrorBody } from "./errors.ts";
import { ExecutionRecord, MimeBundle } from "./records.ts";

const at = { offset: z.int() };

export const AcceptedEvent = z.object({
  type: z.literal("accepted"),
  id: z.string(),
  session: z.string(),
  ...at,
});
export const OutputEvent = z.object({ type: z.enum(["stdout", "stderr"]), text: z.string(), ...at });
export const DisplayEvent = z.object({
  type: z.literal("display"),
  display_id: z.string().nullable(),
  /** True when it replaces the earlier display of the same id. */
  update: z.boolean(),
  mime: MimeBundle,
  ...at,
});
export const ProgressEvent = z.object({
  type: z.literal("progress"),
  done: z.number(),
  total: z.number().nullable(),
  message: z.string(),
  ...at,
});
/** The code waits for a line of input; `execution input` answers. The prompt is part of stdout, too. */
export const InputEvent = z.object({
  type: z.literal("input"),
  prompt: z.string(),
  password: z.boolean(),
  ...at,
});
/** The last event: the finished record. */
export const EndEvent = z.object({ type: z.literal("end"), record: ExecutionRecord, ...at });
/** The caller's wait is over, the execution goes on: the record so far, with status `running`. */
export const DetachedEvent = z.object({ type: z.literal("detached"), record: ExecutionRecord, ...at });
/** The stream cannot go on; follow it again from the last offset. */
export const FailedEvent = z.object({ type: z.literal("failed"), error: ErrorBody, ...at });

export const ExecutionEvent = z.discriminatedUnion("type", [
  AcceptedEvent,
  OutputEvent,
  DisplayEvent,
  ProgressEvent,
  InputEvent,
  EndEvent,
  DetachedEvent,
  FailedEvent,
]);
export type ExecutionEvent = z.infer<typeof ExecutionEvent>;
