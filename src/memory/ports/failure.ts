/**
 * What went wrong inside a worker, as data. Workers do not load the error table (it would double their start); the main
 * thread makes the ExecuteCodeError.
 */
import type { ErrorCode } from "../../contract/errors.ts";

/** Crosses the worker boundary. Without a message the table's own sentence holds. */
export interface Failure {
  readonly code: ErrorCode;
  readonly message?: string;
  readonly details?: Record<string, string | number | null>;
}

/** A failure on its way to the boundary: what is wrong is with the request, and not with the worker. */
export class Refusal extends Error {
  readonly failure: Failure;

  constructor(code: ErrorCode, details?: Failure["details"], message?: string) {
    super(message ?? code);
    this.name = "Refusal";
    this.failure = {
      code,
      ...(details === undefined ? {} : { details }),
      ...(message === undefined ? {} : { message }),
    };
  }
}
