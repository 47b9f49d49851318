/** Late output with the execution that it belongs to; what a busy session does with an execution. */
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
  `,
} as const;
