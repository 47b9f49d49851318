/** What callers ask of the values of variables, judged before it is looked for. */
import { ExecuteCodeError } from "../contract/errors.ts";
import { NotUnderstood, parseCondition } from "./ports/values.ts";

/** Throws `invalid_request` with the position of what is not understood, and what to write. */
export function checkCondition(text: string): void {
  try {
    parseCondition(text);
  } catch (error) {
    if (!(error instanceof NotUnderstood)) throw error;
    const { message, position, remedy } = error;
    throw new ExecuteCodeError("invalid_request", {
      message: `The condition is not understood at character ${position + 1}: ${message}.\n  ${text}\n  ${" ".repeat(position)}^`,
      remedy,
      details: { position },
    });
  }
}
