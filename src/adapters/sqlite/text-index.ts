/**
 * The full-text index. It is filled after executions are acknowledged, in short transactions of its own while the
 * writer has nothing else to do, or at once when a search waits for it.
 *
 * A watermark tells the next start where to look for executions that were finished and not yet indexed: losing the
 * process delays their indexing, nothing more.
 */
import type { Connection } from "./connection.ts";
import { foldText } from "./text.ts";

/** Characters of each part of an execution that can be found. */
const BOUND = { code: 65_536, stdout: 65_536, stderr: 16_384, result: 16_384, error: 16_384 };
/** Between the parts: in no text that anyone searches. */
const SEPARATOR = "\u{1F}";

interface Texts {
  readonly code: string;
  readonly stdout: string;
  readonly stderr: string;
  readonly result_text: string | null;
  readonly error_type: string | null;
  readonly error_message: string | null;
}

export class TextIndex {
  /** Numbers of finished executions that are not indexed, in the order in which they were finished. */
  #pending: number[] = [];
  /** How many were indexed since the start. */
  #indexed = 0;

  get pending(): number {
    return this.#pending.length;
  }

  get indexed(): number {
    return this.#indexed;
  }

  /** Finds what an earlier process left. */
  load(connection: Connection): void {
    const rows = connection.all<{ number: number }>(
      `SELECT number FROM executions WHERE number > (SELECT watermark FROM text_index_state) AND status <> 'running'
       AND NOT EXISTS (SELECT 1 FROM searchable WHERE searchable.number = executions.number) ORDER BY number`,
    );
    this.#pending = rows.map((row) => row.number);
  }

  add(numbers: readonly number[]): void {
    this.#pending.push(...numbers);
  }

  /** Indexes for about this long. What it did not reach stays pending, as does everything when it throws. */
  advance(connection: Connection, milliseconds: number): void {
    const end = performance.now() + milliseconds;
    let done = 0;
    connection.exec("BEGIN IMMEDIATE");
    try {
      do {
        indexOne(connection, this.#pending[done]!);
        done += 1;
      } while (done < this.#pending.length && performance.now() < end);
      const rest = this.#pending.slice(done);
      connection.run("UPDATE text_index_state SET watermark = ?", watermark(connection, rest));
      connection.exec("COMMIT");
      this.#pending = rest;
      this.#indexed += done;
    } catch (error) {
      if (connection.inTransaction) connection.exec("ROLLBACK");
      throw error;
    }
  }
}

function indexOne(connection: Connection, number: number): void {
  const texts = connection.get<Texts>(
    "SELECT code, stdout, stderr, result_text, error_type, error_message FROM executions WHERE number = ?",
    number,
  );
  if (texts === undefined) return;
  const text = searchableText(texts);
  connection.run("INSERT INTO searchable (number, text) VALUES (?, ?)", number, text);
  connection.run("INSERT INTO text_index (rowid, text) VALUES (?, ?)", number, text);
}

function searchableText(texts: Texts): string {
  const error = texts.error_type === null ? "" : `${texts.error_type}: ${texts.error_message ?? ""}`;
  const parts = [
    texts.code.slice(0, BOUND.code),
    texts.stdout.slice(0, BOUND.stdout),
    texts.stderr.slice(0, BOUND.stderr),
    (texts.result_text ?? "").slice(0, BOUND.result),
    error.slice(0, BOUND.error),
  ];
  return foldText(parts.join(SEPARATOR));
}

/** The number below the oldest execution that is unfinished or pending. */
function watermark(connection: Connection, pending: readonly number[]): number {
  const bounds = connection.get<{ newest: number | null; unfinished: number | null }>(
    `SELECT (SELECT max(number) FROM executions) AS newest,
      (SELECT min(number) FROM executions WHERE status = 'running' AND status <> 'ok') AS unfinished`,
  );
  let lowest = (bounds?.newest ?? 0) + 1;
  if (bounds?.unfinished) lowest = Math.min(lowest, bounds.unfinished);
  for (const number of pending) lowest = Math.min(lowest, number);
  return lowest - 1;
}
