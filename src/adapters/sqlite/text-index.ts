/**
 * The full-text index. It is filled after executions are acknowledged, in short transactions of its own while the
 * writer has nothing else to do, or at once when a search waits for it.
 *
 * A watermark tells the next start where to look for executions that were finished and not yet indexed: losing the
 * process delays their indexing, nothing more.
 */

import type { Connection } from "./connection.ts";
import { isDamage } from "./failures.ts";
import type { Texts } from "./rows.ts";
import { foldText } from "./text.ts";

/** Characters of each part of an execution that can be found. */
const BOUND = { code: 65_536, stdout: 65_536, stderr: 16_384, result: 16_384, error: 16_384 };
/** Between the parts: in no text that anyone searches. */
const SEPARATOR = "\u{1F}";

/** To below the oldest unfinished execution; the last condition names the partial index that holds it. */
const RAISE_WATERMARK = `UPDATE text_index_state SET watermark = coalesce(
  (SELECT min(number) - 1 FROM executions WHERE status = 'running' AND status <> 'ok'),
  (SELECT max(number) FROM executions), 0)`;

interface Indexed extends Texts {
  readonly number: number;
  readonly accepted_at: string;
}

export class TextIndex {
  /** Finished executions that are not indexed, in the order in which they were finished. */
  #pending: string[] = [];
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
    const rows = connection.all<{ id: string }>(
      `SELECT id FROM executions WHERE number > (SELECT watermark FROM text_index_state) AND status <> 'running'
       AND NOT EXISTS (SELECT 1 FROM searchable WHERE searchable.number = executions.number) ORDER BY number`,
    );
    this.#pending = rows.map((row) => row.id);
  }

  add(ids: readonly string[]): void {
    this.#pending.push(...ids);
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
      if (rest.length === 0) connection.run(RAISE_WATERMARK);
      connection.exec("COMMIT");
      this.#pending = rest;
      this.#indexed += done;
    } catch (error) {
      if (connection.inTransaction) connection.exec("ROLLBACK");
      throw error;
    }
  }
}

function indexOne(connection: Connection, id: string): void {
  const texts = readTexts(connection, id);
  if (texts === null) return;
  const { number, accepted_at } = texts;
  const text = searchableText(texts);
  connection.run(
    "INSERT INTO searchable (number, accepted_at, text) VALUES (?, ?, ?)",
    number,
    accepted_at,
    text,
  );
  connection.run("INSERT INTO text_index (rowid, text) VALUES (?, ?)", number, text);
}

/** Null for an execution that lies on a damaged page: it stays unsearchable, and holds up no other. */
function readTexts(connection: Connection, id: string): Indexed | null {
  try {
    return (
      connection.get<Indexed>(
        `SELECT number, accepted_at, code, stdout, stderr, result_text, error_type, error_message
         FROM executions WHERE id = ?`,
        id,
      ) ?? null
    );
  } catch (error) {
    if (isDamage(error)) return null;
    throw error;
  }
}

function searchableText(texts: Indexed): string {
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
