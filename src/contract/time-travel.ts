/** Branches of a session: live snapshots, forks, rollback, durable captures and what a restore tells. */
import { z } from "zod";
import {
  Effect,
  RestoreDigest,
  RestoredVariable,
  RolledBack,
  SessionInfo,
  Unsafe,
  VariableSummary,
} from "./records.ts";

export const SNAPSHOT_ID = /^snap_[0-9a-hjkmnp-tv-z]{26}$/;

const SNAPSHOT_NAME = /^[\p{L}\p{N}][\p{L}\p{N} ._-]{0,63}$/u;
/** What else a rollback, a fork or a restore is told: a name of this form would hide that. */
const ID = /^(?:exec|snap|capt)_[0-9a-hjkmnp-tv-z]{26}$/;

/** A name that somebody gives a snapshot or a capture. */
export const SnapshotName = z
  .string()
  .regex(SNAPSHOT_NAME, "1 to 64 letters, digits, spaces, dots, dashes and underscores")
  .refine((name) => !ID.test(name), "is an id of an execution, a snapshot or a capture: take another name");

/** When the session holds what cannot be copied: refuse with `unsafe_fork`, or do it and say so. */
export const OnUnsafe = z.enum(["refuse", "warn"]);
export type OnUnsafe = z.infer<typeof OnUnsafe>;

/** A live snapshot: a paused copy of the session's kernel. It is gone with the session's processes. */
export const SnapshotInfo = z.object({
  id: z.string().regex(SNAPSHOT_ID),
  /** Null for one that was made by the session's policy. */
  name: z.string().nullable(),
  session: z.string(),
  /** The execution after which it was made; null: before the first. */
  execution: z.string().nullable(),
  generation: z.int(),
  revision: z.int(),
  created_at: z.string(),
  /** What it takes beyond what it shares with its session; null when it has not been measured yet. */
  private_bytes: z.int().nullable(),
  /** What the session held that the snapshot lacks. */
  unsafe: z.array(Unsafe),
});
export type SnapshotInfo = z.infer<typeof SnapshotInfo>;

export const Rollback = RolledBack.extend({
  /** Null where there was no live one: then the variables came from a capture and by replay. */
  snapshot: SnapshotInfo.nullable(),
  restore: RestoreDigest.nullable(),
  session: SessionInfo,
  /** Executions whose changes of the memory were undone, oldest first; the history keeps them. */
  abandoned: z.array(z.string()),
});
export type Rollback = z.infer<typeof Rollback>;

/** A variable that was to come from another session. */
export const MergedVariable = z.object({
  name: z.string(),
  /** kept: the session's own stayed, as was asked; failed: why is in `reason`. */
  outcome: z.enum(["merged", "kept", "failed"]),
  reason: z.string().nullable(),
});
export type MergedVariable = z.infer<typeof MergedVariable>;

/** A variable that both sessions have changed since they were one, or that both have and never were one. */
export const MergeConflict = z.object({
  name: z.string(),
  reason: z.string(),
});
export type MergeConflict = z.infer<typeof MergeConflict>;

/** What happens to a variable that both have changed: nothing is merged; the other one's; the session's own. */
export const OnConflict = z.enum(["refuse", "replace", "keep"]);
export type OnConflict = z.infer<typeof OnConflict>;

export const Merge = z.object({
  session: SessionInfo,
  from: z.string(),
  variables: z.array(MergedVariable),
  conflicts: z.array(MergeConflict),
  /** Classes of the same name that are not the same: values that came have the session's own. */
  classes: z.array(z.string()),
});
export type Merge = z.infer<typeof Merge>;

/** One variable in two sessions. */
export const VariableDifference = z.object({
  name: z.string(),
  /** unknown: their content cannot be compared, and they look the same. */
  status: z.enum(["same", "changed", "only_here", "only_there", "unknown"]),
  here: VariableSummary.omit({ name: true }).nullable(),
  there: VariableSummary.omit({ name: true }).nullable(),
});
export type VariableDifference = z.infer<typeof VariableDifference>;

export const Difference = z.object({
  here: z.string(),
  there: z.string(),
  /** The execution up to which both are the same line; null: there is none. */
  ancestor: z.string().nullable(),
  variables: z.array(VariableDifference),
});
export type Difference = z.infer<typeof Difference>;

/** What a predicate was at one moment of a session's past. */
export const BisectStep = z.object({
  /** The execution after which it was asked; null: before the first. */
  execution: z.string().nullable(),
  outcome: z.enum(["good", "bad", "undecided"]),
  /** What it raised, why that moment cannot be had again, or which variables may not be there as they were. */
  detail: z.string().nullable(),
});
export type BisectStep = z.infer<typeof BisectStep>;

export const Bisection = z.object({
  session: z.string(),
  predicate: z.string(),
  /** The execution that broke it; null when it holds at the head, or never held. */
  broken_by: z.string().nullable(),
  /** The last execution after which it held; null: none, or the beginning. */
  last_good: z.string().nullable(),
  /** Executions of which any may have broken it, where moments between could not be told. */
  candidates: z.array(z.string()),
  /** In words. */
  summary: z.string(),
  steps: z.array(BisectStep),
});
export type Bisection = z.infer<typeof Bisection>;

/** A past execution that was run again. */
export const ReplayedExecution = z.object({
  original: z.string(),
  /** Null when it was not run. */
  execution: z.string().nullable(),
  status: z.string().nullable(),
  /** Whether status, result, displays, error and output are as they were; null when it was not run, or nobody can tell. */
  same: z.boolean().nullable(),
  /** Why it was not run, or why nobody can tell. */
  reason: z.string().nullable(),
});
export type ReplayedExecution = z.infer<typeof ReplayedExecution>;

export const Replay = z.object({
  /** Where they were run. */
  session: SessionInfo,
  executions: z.array(ReplayedExecution),
});
export type Replay = z.infer<typeof Replay>;

export const Forks = z.object({
  sessions: z.array(SessionInfo),
  /** What the parent held that they lack. */
  unsafe: z.array(Unsafe),
});
export type Forks = z.infer<typeof Forks>;

/** A variable as a capture has it. */
export const CapturedVariable = z.object({
  name: z.string(),
  type: z.string(),
  /** recipe: how to make it again; skipped: it cannot be captured. */
  status: z.enum(["captured", "recipe", "skipped"]),
  bytes: z.int(),
  /** Why it was skipped. */
  reason: z.string().nullable(),
});
export type CapturedVariable = z.infer<typeof CapturedVariable>;

/** What a kernel says of a capture. The rest of it is the kernel's own business, and nobody else reads it. */
export const CaptureManifest = z.looseObject({
  version: z.int(),
  variables: z.array(z.looseObject(CapturedVariable.shape)),
  /** Contents that a restore needs, by the SHA-256 of their bytes. */
  blobs: z.array(z.object({ digest: z.string().regex(/^[0-9a-f]{64}$/), bytes: z.int().min(0) })),
});
export type CaptureManifest = z.infer<typeof CaptureManifest>;

export const CaptureInfo = z.object({
  id: z.string(),
  /** Null for one that was made by the session's policy. */
  name: z.string().nullable(),
  session: z.string(),
  /** The execution whose state it holds; null: before the first. */
  execution: z.string().nullable(),
  generation: z.int(),
  revision: z.int(),
  created_at: z.string(),
  /** Bytes of all its contents, and of those that no earlier capture had, before compression. */
  bytes: z.int(),
  new_bytes: z.int(),
  variables: z.array(CapturedVariable),
});
export type CaptureInfo = z.infer<typeof CaptureInfo>;

export const RestoreReport = z.object({
  session: z.string(),
  generation: z.int(),
  /** The capture that it came from; null: none was there, all was computed again. */
  capture: z.string().nullable(),
  /** The execution whose state it is. */
  execution: z.string().nullable(),
  variables: z.array(RestoredVariable),
  /** Executions that were run again. */
  replayed: z.array(z.string()),
  duration_ms: z.number(),
});
export type RestoreReport = z.infer<typeof RestoreReport>;

/** An execution of the session's line, as a kernel that restores it needs it. */
export const PastExecution = z.object({
  id: z.string(),
  code: z.string(),
  status: z.string(),
  started_at: z.string(),
  added: z.array(z.string()),
  changed: z.array(z.string()),
  deleted: z.array(z.string()),
  effects: z.array(Effect),
});
export type PastExecution = z.infer<typeof PastExecution>;
