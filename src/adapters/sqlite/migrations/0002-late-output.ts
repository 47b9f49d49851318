/** Late output with the execution that it belongs to; a session's policy when it is busy, and its isolation. */
export const lateOutput = {
  version: 2,
  sql: `
    -- What an execution's background work wrote after its end, in the order in which it came.
    CREATE TABLE late_output (
      execution_id TEXT NOT NULL REFERENCES executions (id),
      number INTEGER NOT NULL,
      stream TEXT NOT NULL,
      text TEXT NOT NULL,
      PRIMARY KEY (execution_id, number)
    ) WITHOUT ROWID;

    ALTER TABLE sessions ADD COLUMN on_busy TEXT NOT NULL DEFAULT 'wait';
    -- What stands around the session's kernels.
    ALTER TABLE sessions ADD COLUMN isolation TEXT NOT NULL DEFAULT 'none';
  `,
} as const;
