/** The tables as composed queries see them; migrations/ is what creates them. */
import type { ExecutionRow } from "./rows.ts";

export interface Tables {
  sessions: { id: string; name: string };
  executions: ExecutionRow;
  searchable: { number: number; accepted_at: string; text: string };
  text_index: { rowid: number };
}
