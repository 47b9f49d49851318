/** JSON lines: one record a line, as everywhere. Artifacts are named and not told. */
import type { Document } from "./document.ts";

export async function* jsonl({ executions }: Document): AsyncGenerator<string, void> {
  for await (const { stored } of executions) yield `${JSON.stringify(stored.record)}\n`;
}
