/** The door of the execution folder: running code. */

export type { CaptureScope } from "./kernel/box.ts";
export type { Capture, CaptureReceiver, Content as CaptureContent } from "./kernel/capture.ts";
export {
  type Cell,
  type ExecutionSink,
  Kernel,
  type KernelExit,
  type KernelOutcome,
  type Question,
} from "./kernel/kernel.ts";
export { Kernels, type KernelsOptions, type Warm } from "./kernel/kernels.ts";
export { Placed } from "./kernel/placed.ts";
export type { Snapshot } from "./kernel/snapshot.ts";
export type { StreamName } from "./kernel/streams.ts";
export { type Interpreter, Interpreters } from "./languages/python/interpreter.ts";
export { Spool } from "./output/spool.ts";
export { type BoundedText, boundedText } from "./output/text.ts";
export { Timeline } from "./output/timeline.ts";
export {
  type DisplayContent,
  type ProgressContent,
  type StreamContent,
  Transcript,
} from "./output/transcript.ts";
export { Packages, requirement } from "./packages/packages.ts";
export { type Isolation, LAST_RESORT, remediesOf } from "./sandbox/isolation.ts";
export { limitExceeded } from "./sandbox/limits.ts";
export { probeIsolation } from "./sandbox/probe.ts";
export { sweep } from "./sandbox/sweep.ts";
export { costOf, privateMemoryOf } from "./sandbox/watchdog.ts";
