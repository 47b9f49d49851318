/** Sessions, executions, artifacts, and the text index over finished executions. */
export const history = {
  version: 1,
  sql: `
    CREATE TABLE sessions (
      id TEXT PRIMARY KEY,
      name TEXT NOT NULL,
      language TEXT NOT NULL,
      python TEXT,
      durability TEXT NOT NULL,
      owner TEXT NOT NULL,
      epoch INTEGER NOT NULL,
      -- When the owner gave the session up; null while the lease is held.
      released_at TEXT,
      generation INTEGER NOT NULL,
      revision INTEGER NOT NULL,
      created_at TEXT NOT NULL,
      closed_at TEXT,
      used_at TEXT NOT NULL
    );
    CREATE UNIQUE INDEX sessions_open_name ON sessions (name) WHERE closed_at IS NULL;
    CREATE INDEX sessions_name ON sessions (name);

    -- Narrow columns first: reading them touches no overflow page of a large text.
    CREATE TABLE executions (
      -- The order of acceptance, and the key that the text index shares.
      number INTEGER PRIMARY KEY,
      id TEXT NOT NULL UNIQUE,
      session_id TEXT NOT NULL REFERENCES sessions (id),
      session TEXT NOT NULL,
      epoch INTEGER NOT NULL,
      generation INTEGER NOT NULL,
      revision INTEGER NOT NULL,
      language TEXT NOT NULL,
      status TEXT NOT NULL,
      accepted_at TEXT NOT NULL,
      -- When the code was given to a kernel; null before that.
      started_at TEXT,
      finished_at TEXT,
      duration_ms REAL NOT NULL,
      cause TEXT NOT NULL,
      isolation TEXT NOT NULL,
      durability TEXT NOT NULL,
      idempotency_key TEXT,
      idempotency_digest TEXT,
      ast_hash TEXT,
      error_fingerprint TEXT,
      imports TEXT,
      error_type TEXT,
      error_message TEXT,
      result_text TEXT,
      code TEXT NOT NULL,
      stdout TEXT NOT NULL,
      stderr TEXT NOT NULL,
      timeline TEXT NOT NULL,
      -- JSON of what the record holds besides these columns; null until it is finished.
      record TEXT
    );
    CREATE INDEX executions_session ON executions (session_id);
    CREATE INDEX executions_not_ok ON executions (status) WHERE status <> 'ok';
    CREATE UNIQUE INDEX executions_idempotency ON executions (idempotency_key) WHERE idempotency_key IS NOT NULL;
    CREATE INDEX executions_fingerprint ON executions (error_fingerprint) WHERE error_fingerprint IS NOT NULL;

    CREATE TABLE artifacts (
      execution_id TEXT NOT NULL REFERENCES executions (id),
      number INTEGER NOT NULL,
      uri TEXT NOT NULL,
      mime TEXT NOT NULL,
      bytes INTEGER NOT NULL,
      sha256 TEXT NOT NULL,
      source TEXT NOT NULL,
      display INTEGER,
      PRIMARY KEY (execution_id, number)
    );
    CREATE INDEX artifacts_content ON artifacts (sha256);

    -- What can be found by its words: the folded text of each finished execution, see text-index.ts.
    CREATE TABLE searchable (
      number INTEGER PRIMARY KEY,
      accepted_at TEXT NOT NULL,
      text TEXT NOT NULL
    );
    -- Here and not on executions, where it would lengthen every acceptance.
    CREATE INDEX searchable_accepted ON searchable (accepted_at);
    CREATE VIRTUAL TABLE text_index USING fts5 (
      text, content = 'searchable', content_rowid = 'number',
      tokenize = 'trigram case_sensitive 1', detail = none, columnsize = 0
    );
    -- One row. Every finished execution up to this number is searchable.
    CREATE TABLE text_index_state (watermark INTEGER NOT NULL);
    INSERT INTO text_index_state (watermark) VALUES (0);
  `,
} as const;
