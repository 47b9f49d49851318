/** Every bound of the platform, in one place. Sizes are bytes and durations milliseconds unless named otherwise. */
export const LIMITS = {
  /** One execution's source text, as UTF-8. */
  codeBytes: 2 * 1024 * 1024,
  /** One HTTP request body. */
  requestBytes: 16 * 1024 * 1024,
  /** Output of one stream that a record carries inline: this much of its head, and of its tail. */
  inlineHeadBytes: 192 * 1024,
  inlineTailBytes: 64 * 1024,
  /** Output of one stream of one execution that is kept at all. What exceeds it is counted and dropped. */
  spoolBytes: 256 * 1024 * 1024,
  /** Output of one stream held in memory before it goes to a file. */
  spoolMemoryBytes: 256 * 1024,
  /** Late output of one stream of one execution that is kept. */
  lateBytes: 256 * 1024,
  /** Executions of one kernel whose late output is told apart from that of the execution after them. */
  lateStreams: 16,
  /** One frame between daemon, supervisor and kernel. */
  frameBytes: 32 * 1024 * 1024,
  /** One entry of a mime bundle kept inside a record; a larger one becomes an artifact. */
  inlineMimeBytes: 64 * 1024,
  /** Display events of one execution. */
  displays: 1_000,
  /** Executions that may wait in one session. */
  queueLength: 1_000,
  liveSessions: 500,
  sessionNameLength: 64,
  idempotencyKeyLength: 200,
  /** The longest time that a caller can name, and what a program waits that means to wait for the end. */
  longestMs: 24 * 3_600_000,
  /** A caller's wait for an execution, when it names none. */
  defaultTimeoutMs: 30_000,
  /** How long `input()` waits for an answer, when the caller names no time. */
  inputTimeoutMs: 10_000,
  /** The same, for the calls of a model, which take their time. */
  toolInputTimeoutMs: 60_000,
  /** One answer to `input()`, and the prompt that is shown with it. */
  inputChars: 64 * 1024,
  /** Questions of one execution that its record keeps. */
  inputs: 1_000,
  /** How long a look at variables may take before it is interrupted. */
  inspectMs: 5_000,
  /** How long exit functions may take when a session is closed. */
  shutdownMs: 1_000,
  /** How long an interrupted kernel may take before it is interrupted again, and then killed. */
  interruptGraceMs: 2_000,
  /** How long output may still be read after a kernel's end, while nothing arrives. */
  drainQuietMs: 100,
  /** How long an installation of packages may take, when the caller names no time. */
  installMs: 10 * 60_000,
  /** What an installer said, that is kept. */
  installOutputChars: 8_000,
  /** All files of a work folder, and processes and threads of a session, where its profile names no bound. */
  diskBytes: 10 * 1024 * 1024 * 1024,
  processes: 512,
  /** Text of a tool answer, in characters, when the caller names no bound. */
  toolOutputChars: 20_000,
  /** What `/tmp` and `/dev/shm` of a sandbox hold: they are in memory. */
  temporaryBytes: 512 * 1024 * 1024,
  sharedMemoryBytes: 512 * 1024 * 1024,
  /** One file that is put into a workspace. */
  uploadBytes: 4 * 1024 * 1024 * 1024,
  /** Entries of one listing of a workspace. */
  workspaceEntries: 10_000,
  /** One path in a workspace. */
  workspacePathBytes: 4_096,
  /** How long a snapshot, a fork or a rollback waits for what the session is doing. */
  turnMs: 10_000,
  /** Live snapshots of a session that its policy makes, and those that were given names. */
  liveSnapshots: 8,
  namedSnapshots: 32,
  /** The part of a session's memory that its snapshots may take beyond what they share with it. */
  snapshotShare: 0.25,
  /** Sessions that one call forks. */
  forks: 200,
  /** Contents of a capture that are kept in the database. */
  smallContentBytes: 16 * 1024,
  /** Between the last change of a session's variables and their capture, while nothing runs. */
  captureQuietMs: 750,
  /** How long a capture may take, and how long with the same variables. */
  captureMs: 120_000,
  captureStepMs: 20_000,
  /** All contents of one capture. */
  captureBytes: 4 * 1024 * 1024 * 1024,
  /** How long a capture may take when the session is about to end. */
  captureLastMs: 10_000,
  /** How long a restore may take. */
  restoreMs: 120_000,
  /** Files that are told to have changed, and entries that are looked at for it. */
  changedFiles: 200,
  changesLookedAt: 20_000,
  historyPage: 50,
  historyPageMax: 500,
} as const;
