/** Lines of executions, sessions that were forked, and captures of variables. */
export const timeTravel = {
  version: 4,
  sql: `
    -- The execution whose state the next one begins with; null at the beginning.
    ALTER TABLE sessions ADD COLUMN head TEXT;
    ALTER TABLE sessions ADD COLUMN snapshots TEXT NOT NULL DEFAULT 'changes';
    ALTER TABLE sessions ADD COLUMN capture TEXT NOT NULL DEFAULT 'idle';
    -- JSON of the lineage; null for a session that was not forked.
    ALTER TABLE sessions ADD COLUMN forked_from TEXT;
    -- The session whose folder it shares; null: its own.
    ALTER TABLE sessions ADD COLUMN folder TEXT;

    -- The execution whose state it began with.
    ALTER TABLE executions ADD COLUMN parent TEXT;

    CREATE TABLE captures (
      id TEXT PRIMARY KEY,
      session_id TEXT NOT NULL REFERENCES sessions (id),
      name TEXT,
      -- The execution whose state it holds; null: before the first.
      execution_id TEXT,
      generation INTEGER NOT NULL,
      revision INTEGER NOT NULL,
      created_at TEXT NOT NULL,
      bytes INTEGER NOT NULL,
      new_bytes INTEGER NOT NULL,
      -- JSON, as the kernel gave it.
      manifest TEXT NOT NULL
    );
    CREATE INDEX captures_of_session ON captures (session_id, created_at);
    -- The contents that a capture needs, by digest: here when they are small, else files of the captures' folder.
    CREATE TABLE small_contents (digest TEXT PRIMARY KEY, data BLOB NOT NULL);
    CREATE TABLE capture_contents (
      digest TEXT NOT NULL,
      capture_id TEXT NOT NULL REFERENCES captures (id) ON DELETE CASCADE,
      PRIMARY KEY (digest, capture_id)
    ) WITHOUT ROWID;
    CREATE INDEX contents_of_capture ON capture_contents (capture_id);
  `,
} as const;
