/**
 * What is left of a folder when the power goes, made from the trace of all changes of its files (see faults.c).
 *
 * The model is a file system with a journal of its names, as ext4 and XFS are: what was written to a file is safe when
 * that file was synced after it; files made, renamed and removed are safe, in order, with the next sync of anything.
 * Of what is not safe either nothing is left (`none`), or chance decides for each page of each write, and for how many
 * of the changes of names (`some`): a file can then have holes of zeros, and pages that are older than later ones.
 */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";

const PAGE = 4_096;
const HEADER = 1 + 3 * 4 + 8;

export interface Change {
  readonly op: "create" | "truncate" | "write" | "sync" | "rename" | "unlink" | "mkdir";
  readonly path: string;
  /** What it is renamed to. */
  readonly other: string;
  /** The place of a write; the length of a truncation. */
  readonly at: number;
  readonly data: Buffer;
  /** Where it ends in the trace. */
  readonly end: number;
}

const OPS: Readonly<Record<string, Change["op"]>> = {
  c: "create",
  t: "truncate",
  w: "write",
  s: "sync",
  r: "rename",
  u: "unlink",
  m: "mkdir",
};

export function readTrace(file: string): Change[] {
  const bytes = readFileSync(file);
  const changes: Change[] = [];
  for (let at = 0; at + HEADER <= bytes.length; ) {
    const op = OPS[String.fromCharCode(bytes[at]!)];
    if (op === undefined) throw new Error(`no change at byte ${at} of the trace`);
    const lengths = [1, 5, 9].map((offset) => bytes.readUInt32LE(at + offset)) as [number, number, number];
    const place = Number(bytes.readBigInt64LE(at + 13));
    const parts: Buffer[] = [];
    let next = at + HEADER;
    for (const length of lengths) {
      parts.push(bytes.subarray(next, next + length));
      next += length;
    }
    if (next > bytes.length) break;
    const [name, other, data] = parts as [Buffer, Buffer, Buffer];
    changes.push({ op, path: name.toString(), other: other.toString(), at: place, data, end: next });
    at = next;
  }
  return changes;
}

/** A file's content, whatever its name. */
class Content {
  safe: Buffer = Buffer.alloc(0);
  unsafe: Change[] = [];

  sync(): void {
    for (const change of this.unsafe) this.safe = applied(this.safe, change, () => true);
    this.unsafe = [];
  }

  left(isLeft: () => boolean): Buffer {
    let bytes = this.safe;
    for (const change of this.unsafe) bytes = applied(bytes, change, isLeft);
    return bytes;
  }
}

function applied(bytes: Buffer, { op, at, data }: Change, isLeft: () => boolean): Buffer {
  if (op === "truncate") {
    if (!isLeft()) return bytes;
    return at <= bytes.length
      ? bytes.subarray(0, at)
      : Buffer.concat([bytes, Buffer.alloc(at - bytes.length)]);
  }
  const pieces: Array<{ from: number; to: number }> = [];
  for (let from = 0; from < data.length; ) {
    const to = Math.min(data.length, from + PAGE - ((at + from) % PAGE));
    if (isLeft()) pieces.push({ from, to });
    from = to;
  }
  const last = pieces.at(-1);
  if (last === undefined) return bytes;
  const whole = Buffer.alloc(Math.max(bytes.length, at + last.to));
  bytes.copy(whole);
  for (const { from, to } of pieces) data.copy(whole, at + from, from, to);
  return whole;
}

type Names = Map<string, Content | "folder">;

function renamed(names: Names, { op, path: name, other }: Change, made: Content | undefined): void {
  if (op === "create") names.set(name, made!);
  else if (op === "mkdir") names.set(name, "folder");
  else if (op === "unlink") names.delete(name);
  else if (op === "rename") {
    const content = names.get(name);
    if (content === undefined) return;
    names.delete(name);
    names.set(other, content);
  }
}

/** Writes to `to` what is left of `home` when the power goes after these changes. */
export function leftAfter(changes: readonly Change[], home: string, to: string, what: "none" | "some"): void {
  const chance = Math.random();
  const isLeft = (): boolean => what === "some" && Math.random() < chance;
  const now: Names = new Map();
  const safe: Names = new Map();
  let pending: Array<[Change, Content | undefined]> = [];
  for (const change of changes) {
    const content = now.get(change.path);
    switch (change.op) {
      case "write":
      case "truncate":
        if (content instanceof Content) content.unsafe.push(change);
        break;
      case "sync":
        if (content instanceof Content) content.sync();
        for (const [one, made] of pending) renamed(safe, one, made);
        pending = [];
        break;
      default: {
        const made = change.op === "create" ? new Content() : undefined;
        renamed(now, change, made);
        pending.push([change, made]);
      }
    }
  }
  for (const [one, made] of pending) {
    if (!isLeft()) break;
    renamed(safe, one, made);
  }
  for (const [name, content] of safe) {
    const file = path.join(to, path.relative(home, name));
    if (content === "folder") mkdirSync(file, { recursive: true, mode: 0o700 });
    else {
      mkdirSync(path.dirname(file), { recursive: true, mode: 0o700 });
      writeFileSync(file, content.left(isLeft), { mode: 0o600 });
    }
  }
}
