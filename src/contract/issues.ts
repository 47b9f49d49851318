import type { z } from "zod";

/** What is wrong where, in one line; `whole` names the place of what is wrong with the document itself. */
export function issuesText(error: z.ZodError, whole: string): string {
  return error.issues
    .map(
      (issue) =>
        `${issue.path.join(".") || whole}: ${isEmptyText(issue) ? "must not be empty" : issue.message}`,
    )
    .join("; ");
}

function isEmptyText(issue: z.core.$ZodIssue): boolean {
  return issue.code === "too_small" && issue.origin === "string" && issue.minimum === 1;
}
