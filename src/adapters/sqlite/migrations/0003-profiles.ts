/** What a session is granted, and the packages of its own environment. */
export const profiles = {
  version: 3,
  sql: `
    -- The profile as JSON; fields that it lacks have their defaults.
    ALTER TABLE sessions ADD COLUMN profile TEXT NOT NULL DEFAULT '{}';
    -- JSON list of the packages that its own environment has, each with its version.
    ALTER TABLE sessions ADD COLUMN packages TEXT NOT NULL DEFAULT '[]';

    CREATE TABLE installations (
      number INTEGER PRIMARY KEY,
      session_id TEXT NOT NULL REFERENCES sessions (id),
      -- The execution that asked; null when a caller did.
      execution_id TEXT,
      at TEXT NOT NULL,
      -- JSON lists: what was asked for, and each package with its version.
      requested TEXT NOT NULL,
      installed TEXT NOT NULL
    );
    CREATE INDEX installations_of_session ON installations (session_id, number);
  `,
} as const;
