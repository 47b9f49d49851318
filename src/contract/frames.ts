/**
 * The kernel protocol: what daemon, supervisor and kernel say to each other.
 *
 * A frame is a four-byte big-endian length and that many bytes of ASCII-safe JSON (one object with a `type`).
 * Two channels carry frames:
 *   control   daemon ↔ supervisor, on the supervisor's descriptor 3; its end is the lifeline
 *   kernel    daemon ↔ kernel, a connection that the kernel opens to its box's listener and begins with `hello`
 * Output never travels here: a kernel's stdout and stderr are FIFOs read by the daemon.
 *
 * tests/protocol/vectors.json holds examples that both TypeScript and Python check.
 */
import { z } from "zod";
import {
  Effect,
  ErrorFrame,
  MimeBundle,
  RestoredVariable,
  Unsafe,
  VariableChanges,
  VariableDetail,
  VariableInfo,
} from "./records.ts";
import { CaptureManifest, MergedVariable, OnUnsafe, PastExecution } from "./time-travel.ts";

export const PROTOCOL_VERSION = 1;

// ── control channel, daemon → supervisor ────────────────────────────────────────────────────────────────────

export const ResourceLimits = z.object({
  /** Bytes of private memory of one process; beyond it allocations fail. */
  memory_bytes: z.int(),
  /** Processes and threads of the whole box; null where they could only be counted by user. */
  processes: z.int().nullable(),
  /** Open descriptors of one process. */
  files: z.int(),
  /** Bytes of one file. */
  file_bytes: z.int(),
  /** Which of the processors that the box may use its processes use, by position, counted round; null: all. */
  cpus: z.array(z.int()).nullable(),
  /** Added to the scheduling priority: the higher, the more the machine's other work comes first. */
  nice: z.int(),
});
export type ResourceLimits = z.infer<typeof ResourceLimits>;

export const ForkCommand = z.object({
  type: z.literal("fork"),
  /** Names the kernel on this channel. */
  kernel: z.string(),
  /** One-time secret with which the kernel presents itself. */
  nonce: z.string(),
  /** Path of the kernel-only listener, as seen inside the box. */
  listener: z.string(),
  /** Paths of the output FIFOs, as seen inside the box. The daemon holds their reading ends open already. */
  stdout: z.string(),
  stderr: z.string(),
  /**
   * Path of the FIFO on which the daemon names what a SIGINT is meant for: the execution or the request and the
   * number of its interrupt, `exec_…/1`, a line each. A name that is sent again counts once.
   */
  interrupts: z.string(),
  cwd: z.string(),
  /** The whole environment of the kernel. */
  env: z.record(z.string(), z.string()),
  /** What the system grants the kernel and each process below it; null: what it grants the supervisor. */
  limits: ResourceLimits.nullable(),
});
/** A kernel has forked a branch, which is this process by its number inside the box: it is a kernel from now on. */
export const AdoptCommand = z.object({
  type: z.literal("adopt"),
  kernel: z.string(),
  pid: z.int(),
  /** A snapshot: no process comes from it. */
  paused: z.boolean(),
});
/** A snapshot has become a kernel, since this moment of the machine's monotonic clock. */
export const ResumeCommand = z.object({
  type: z.literal("resume"),
  kernel: z.string(),
  since_ms: z.number(),
});
/** Sends a signal, and answers `signalled`. */
export const SignalCommand = z.object({
  type: z.literal("signal"),
  kernel: z.string(),
  signal: z.int(),
  /**
   * kernel    its process alone
   * started   its process, and those below it in its process session that began with the running execution
   * leftover  not its process, but everything that descends from it and began with the running execution
   * tree      its process and everything that descends from it
   */
  target: z.enum(["kernel", "started", "leftover", "tree"]),
  /** When the running execution began: milliseconds on the machine's monotonic clock. */
  since_ms: z.number(),
  request: z.int(),
});
/** Kills every process of the box and exits. */
export const StopCommand = z.object({ type: z.literal("stop") });
export type SignalTarget = z.infer<typeof SignalCommand>["target"];
export const SupervisorCommand = z.discriminatedUnion("type", [
  ForkCommand,
  AdoptCommand,
  ResumeCommand,
  SignalCommand,
  StopCommand,
]);
export type SupervisorCommand = z.infer<typeof SupervisorCommand>;

// ── control channel, supervisor → daemon ────────────────────────────────────────────────────────────────────

export const ReadyReport = z.object({
  type: z.literal("ready"),
  protocol: z.int(),
  pid: z.int(),
  python: z.object({ version: z.string(), executable: z.string(), implementation: z.string() }),
});
/** A signal was sent, or nobody was there to get it. */
export const SignalledReport = z.object({
  type: z.literal("signalled"),
  kernel: z.string(),
  request: z.int(),
});
export const ForkedReport = z.object({ type: z.literal("forked"), kernel: z.string(), pid: z.int() });
export const ExitedReport = z.object({
  type: z.literal("exited"),
  kernel: z.string(),
  /** Exit status, or null when a signal ended it. */
  code: z.int().nullable(),
  signal: z.int().nullable(),
  peak_memory_bytes: z.int(),
  cpu_ms: z.number(),
});
/** A command could not be carried out. */
export const FaultReport = z.object({
  type: z.literal("fault"),
  kernel: z.string().nullable(),
  message: z.string(),
});
export const SupervisorReport = z.discriminatedUnion("type", [
  ReadyReport,
  ForkedReport,
  SignalledReport,
  ExitedReport,
  FaultReport,
]);
export type SupervisorReport = z.infer<typeof SupervisorReport>;

// ── kernel channel, daemon → kernel ─────────────────────────────────────────────────────────────────────────

export const ExecuteRequest = z.object({
  type: z.literal("execute"),
  id: z.string(),
  code: z.string(),
  /** Environment variables for this execution alone. */
  env: z.record(z.string(), z.string()),
  /**
   * Paths of fresh FIFOs, which become the kernel's output with this execution; the earlier ones stay for what goes
   * on in the background. Null: the output stays where it is.
   */
  streams: z.object({ stdout: z.string(), stderr: z.string() }).nullable(),
});
/** Answered between executions only. Without a name: a summary of every variable. */
export const InspectRequest = z.object({
  type: z.literal("inspect"),
  request: z.string(),
  name: z.string().nullable(),
  depth: z.int(),
});
/** Answered between executions only, without running anything. */
export const CompleteRequest = z.object({
  type: z.literal("complete"),
  request: z.string(),
  code: z.string(),
  /** Where names are looked for: a count of Unicode characters; null: only the status is asked for. */
  cursor: z.int().nullable(),
});
/** The answer to a kernel's `call`. */
export const CallReply = z.object({
  type: z.literal("reply"),
  request: z.string(),
  value: z.json(),
  error: z.string().nullable(),
});
/**
 * Forks the kernel, between executions: each branch dials the listener with its own nonce, as a kernel does.
 *
 * snapshot   stays as it is: it forks others, until it is resumed itself, as a successor or a session
 * successor  goes on in place of the session's kernel
 * session    goes on as another session: other random numbers, other temporary names
 * capture    writes the variables down and ends
 */
export const BranchRequest = z.object({
  type: z.literal("branch"),
  request: z.string(),
  listener: z.string(),
  on_unsafe: OnUnsafe,
  branches: z.array(
    z.object({
      kernel: z.string(),
      nonce: z.string(),
      role: z.enum(["snapshot", "successor", "session", "capture"]),
      /**
       * Names the copy among all of its session, for another session: its random numbers follow from this and the
       * parent's state. Null: they go on as the parent's.
       */
      copy: z.string().nullable(),
      /** As of a `fork` command; null for a snapshot, which writes nothing. A capture's stdout takes its contents. */
      stdout: z.string().nullable(),
      stderr: z.string().nullable(),
      interrupts: z.string().nullable(),
      /** The variables that a capture is about; null: all. */
      only: z.array(z.string()).nullable(),
      /** What a capture leaves out, with the reason, by variable. */
      skip: z.record(z.string(), z.string()),
    }),
  ),
});
export type BranchRequest = z.infer<typeof BranchRequest>;
export type BranchRole = BranchRequest["branches"][number]["role"];
/** A snapshot goes on as a kernel, on the connection that it has. The rest is as for a branch. */
export const ResumeRequest = z.object({
  type: z.literal("resume"),
  request: z.string(),
  kernel: z.string(),
  role: z.enum(["successor", "session"]),
  copy: z.string().nullable(),
  stdout: z.string(),
  stderr: z.string(),
  interrupts: z.string(),
});
export type ResumeRequest = z.infer<typeof ResumeRequest>;
/** Those contents of an `offer` that are to be sent. */
export const WantedReply = z.object({ type: z.literal("wanted"), digests: z.array(z.string()) });
/** Makes a fresh kernel's variables what they were. `folder` holds the capture's contents, each by its digest. */
export const RestoreRequest = z.object({
  type: z.literal("restore"),
  request: z.string(),
  manifest: CaptureManifest.nullable(),
  folder: z.string(),
  /** The line from the session's beginning to its head; only what comes after the capture can differ from it. */
  history: z.array(PastExecution),
  /** The head that the capture holds the state of. */
  captured: z.string().nullable(),
  /** Executions that did something outside their session may be run again, too. */
  effects: z.boolean(),
});
export type RestoreRequest = z.infer<typeof RestoreRequest>;
/** Brings variables of another session in. `folder` holds the contents of `manifest`, each by its digest. */
export const MergeRequest = z.object({
  type: z.literal("merge"),
  request: z.string(),
  manifest: CaptureManifest,
  folder: z.string(),
  names: z.array(z.string()),
});
export type MergeRequest = z.infer<typeof MergeRequest>;
export const ShutdownRequest = z.object({ type: z.literal("shutdown") });
export const KernelRequest = z.discriminatedUnion("type", [
  ExecuteRequest,
  InspectRequest,
  CompleteRequest,
  CallReply,
  BranchRequest,
  ResumeRequest,
  WantedReply,
  RestoreRequest,
  MergeRequest,
  ShutdownRequest,
]);
export type KernelRequest = z.infer<typeof KernelRequest>;

// ── kernel channel, kernel → daemon ─────────────────────────────────────────────────────────────────────────

export const HelloFrame = z.object({
  type: z.literal("hello"),
  protocol: z.int(),
  nonce: z.string(),
  pid: z.int(),
});
export const DisplayFrame = z.object({
  type: z.literal("display"),
  id: z.string(),
  display_id: z.string().nullable(),
  update: z.boolean(),
  mime: MimeBundle,
});
export const ProgressFrame = z.object({
  type: z.literal("progress"),
  id: z.string(),
  done: z.number(),
  total: z.number().nullable(),
  message: z.string(),
});
/** Code asks the platform something (`ec.history`, `ec.install`) and waits for the reply. */
export const CallFrame = z.object({
  type: z.literal("call"),
  id: z.string(),
  request: z.string(),
  method: z.enum(["history", "install", "checkpoint"]),
  params: z.record(z.string(), z.json()),
});
/** `input()` waits for a line; the `reply` carries it, or null at the end of input. */
export const InputFrame = z.object({
  type: z.literal("input"),
  id: z.string(),
  request: z.string(),
  prompt: z.string(),
  password: z.boolean(),
});
/** Nobody waits for the answer any more. */
export const WithdrawnFrame = z.object({ type: z.literal("withdrawn"), request: z.string() });
/** The fresh FIFOs could not be opened: the output stays where it was. */
export const StreamsKeptFrame = z.object({ type: z.literal("streams_kept"), id: z.string() });
export const DoneFrame = z.object({
  type: z.literal("done"),
  id: z.string(),
  status: z.enum(["ok", "error", "interrupted"]),
  result: z.object({ text: z.string(), mime: MimeBundle }).nullable(),
  error: z
    .object({
      type: z.string(),
      message: z.string(),
      traceback: z.string(),
      line: z.int().nullable(),
      column: z.int().nullable(),
      frames: z.array(ErrorFrame),
    })
    .nullable(),
  variables: VariableChanges,
  /** False when it can be seen that it left the session's memory as it was. */
  changed: z.boolean(),
  effects: z.array(Effect),
  ast_hash: z.string().nullable(),
  imports: z.array(z.string()),
  duration_ms: z.number(),
  cpu_ms: z.number(),
  peak_memory_bytes: z.int(),
  /** Bytes that lie unread in the FIFOs, after everything was flushed: the daemon reads a stream dry that has any. */
  unread: z.object({ stdout: z.int(), stderr: z.int() }),
  /** It started threads, tasks or processes that may write to its streams after its end. */
  lingering: z.boolean(),
});
export type DoneFrame = z.infer<typeof DoneFrame>;
export const InspectedFrame = z.object({
  type: z.literal("inspected"),
  request: z.string(),
  variables: z.array(VariableInfo).nullable(),
  detail: VariableDetail.nullable(),
  /** Set when there is no such variable, or it could not be looked at. */
  error: z
    .object({ code: z.enum(["unknown_variable", "inspection_failed"]), message: z.string() })
    .nullable(),
});
export const CompletedFrame = z.object({
  type: z.literal("completed"),
  request: z.string(),
  /** What may stand in place of the characters from `start` to `end`. */
  matches: z.array(z.string()),
  start: z.int(),
  end: z.int(),
  status: z.enum(["complete", "incomplete", "invalid"]),
  indent: z.string(),
});
export type CompletedFrame = z.infer<typeof CompletedFrame>;
/** The answer to `branch`: process numbers inside the box, in the order asked for. */
export const BranchedFrame = z.object({
  type: z.literal("branched"),
  request: z.string(),
  pids: z.array(z.int()),
  unsafe: z.array(Unsafe),
  /** Nothing goes on in the kernel between requests: without one, it stays what its copy is. */
  still: z.boolean(),
  /** Set when nothing was forked. */
  error: z.object({ code: z.enum(["unsafe_fork", "fork_failed"]), message: z.string() }).nullable(),
});
export type BranchedFrame = z.infer<typeof BranchedFrame>;
/** The answer to `resume`. */
export const ResumedFrame = z.object({
  type: z.literal("resumed"),
  request: z.string(),
  /** Set when it is a snapshot still. */
  error: z.string().nullable(),
});
/** A capture is at work on these variables: should it hang, they are why. */
export const CapturingFrame = z.object({ type: z.literal("capturing"), names: z.array(z.string()) });
/** Contents that a capture can send; `wanted` answers which. */
export const OfferFrame = z.object({
  type: z.literal("offer"),
  contents: z.array(z.object({ digest: z.string(), bytes: z.int().min(0) })),
});
/** The capture is whole, and its contents have been written before; or there is none. */
export const CapturedFrame = z.object({
  type: z.literal("captured"),
  manifest: CaptureManifest.nullable(),
  error: z.string().nullable(),
});
/** The answer to `restore`. */
export const RestoredFrame = z.object({
  type: z.literal("restored"),
  request: z.string(),
  variables: z.array(RestoredVariable),
  replayed: z.array(z.string()),
  error: z.string().nullable(),
});
export type RestoredFrame = z.infer<typeof RestoredFrame>;
/** The answer to `merge`. */
export const MergedFrame = z.object({
  type: z.literal("merged"),
  request: z.string(),
  variables: z.array(MergedVariable),
  /** Classes that have the same name in both sessions, and are not the same. */
  classes: z.array(z.string()),
  error: z.string().nullable(),
});
export type MergedFrame = z.infer<typeof MergedFrame>;
export const KernelFrame = z.discriminatedUnion("type", [
  HelloFrame,
  DisplayFrame,
  ProgressFrame,
  CallFrame,
  InputFrame,
  WithdrawnFrame,
  StreamsKeptFrame,
  DoneFrame,
  InspectedFrame,
  CompletedFrame,
  BranchedFrame,
  ResumedFrame,
  CapturingFrame,
  OfferFrame,
  CapturedFrame,
  RestoredFrame,
  MergedFrame,
]);
export type KernelFrame = z.infer<typeof KernelFrame>;
