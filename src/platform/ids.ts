/** Time-ordered ids with a type prefix: `exec_…`, `sess_…`. Monotonic within one process. */
import { randomBytes } from "node:crypto";
import { typeidUnboxed } from "typeid-js";

export const newExecutionId = (): string => typeidUnboxed("exec");
export const newSessionId = (): string => typeidUnboxed("sess");
export const newSnapshotId = (): string => typeidUnboxed("snap");
export const newCaptureId = (): string => typeidUnboxed("capt");

/** An unguessable word: 128 bits as 32 hexadecimal digits. */
export const newSecret = (): string => randomBytes(16).toString("hex");

/** A short name for things that live below the runtime folder. */
export const newShortId = (): string => randomBytes(4).toString("hex");
