/** `session fork|snapshot|snapshots|rollback`. */
import type { Unsafe } from "../contract/records.ts";
import type { OnUnsafe } from "../contract/time-travel.ts";
import {
  createClient,
  doubtful,
  endedNote,
  formatBytes,
  nameUnsafe,
  type SnapshotInfo,
} from "../sdk/index.ts";
import { note, writeFacts, writeJson, writeTable } from "./terminal.ts";

interface Flags {
  json?: boolean;
}

export async function fork(
  name: string,
  names: string[],
  flags: Flags & { count?: number; from?: string; onUnsafe: OnUnsafe },
): Promise<number> {
  await using client = createClient({ client: "cli" });
  const { count, from, onUnsafe } = flags;
  const forks = await client.fork(name, { count, from, onUnsafe, ...(names.length === 0 ? {} : { names }) });
  if (flags.json) await writeJson(forks);
  else {
    warn(forks.unsafe);
    await writeTable(
      ["NAME", "STATE", "REVISION", "FORKED FROM"],
      forks.sessions.map((one) => [
        one.name,
        one.state,
        String(one.revision),
        `${one.forked_from?.session} rev ${one.forked_from?.revision}`,
      ]),
    );
  }
  return 0;
}

export async function snapshot(
  name: string,
  label: string | undefined,
  flags: Flags & { drop?: string; onUnsafe: OnUnsafe },
): Promise<number> {
  await using client = createClient({ client: "cli" });
  const taken =
    flags.drop === undefined
      ? await client.snapshot(name, label, { onUnsafe: flags.onUnsafe })
      : await client.dropSnapshot(name, flags.drop);
  if (flags.json) await writeJson(taken);
  else {
    warn(taken.unsafe);
    await writeFacts(facts(taken));
  }
  return 0;
}

export async function snapshots(name: string, flags: Flags): Promise<number> {
  await using client = createClient({ client: "cli" });
  const list = await client.snapshots(name);
  if (flags.json) await writeJson({ snapshots: list });
  else if (list.length === 0) note("The session has no live snapshots.");
  else {
    await writeTable(
      ["ID", "NAME", "AFTER", "REVISION", "CREATED", "MEMORY"],
      list.map((one) => [
        one.id,
        one.name ?? "",
        one.execution ?? "the beginning",
        String(one.revision),
        one.created_at,
        one.private_bytes === null ? "" : formatBytes(one.private_bytes),
      ]),
    );
  }
  return 0;
}

export async function rollback(name: string, to: string | undefined, flags: Flags): Promise<number> {
  await using client = createClient({ client: "cli" });
  const done = await client.rollback(name, to);
  if (flags.json) await writeJson(done);
  else {
    warn(done.snapshot?.unsafe ?? []);
    for (const one of done.ended ?? []) note(endedNote(one));
    await writeFacts({
      session: done.session.name,
      "memory as after": done.to ?? "the beginning",
      generation: done.session.generation,
      restored: done.restore?.restored ?? null,
      recomputed: done.restore?.recomputed.map(({ name }) => name).join(", ") || null,
      lost: done.restore?.lost.map(({ name, reason }) => `${name} (${reason})`).join(", ") || null,
      "perhaps not as it was": doubtful(done.restore).join(", ") || null,
      undone: done.abandoned.join(", ") || null,
    });
    if (done.files.length > 0) {
      note(`Files that changed since, and stay as they are:${done.truncated ? " (more than these)" : ""}`);
      for (const { path, change } of done.files)
        note(`  ${path}${change === "names" ? " (names came or went)" : ""}`);
    }
  }
  return 0;
}

function facts(one: SnapshotInfo): Record<string, string | number | null> {
  return {
    id: one.id,
    name: one.name,
    session: one.session,
    after: one.execution ?? "the beginning",
    revision: one.revision,
    created: one.created_at,
  };
}

function warn(unsafe: readonly Unsafe[]): void {
  for (const one of unsafe) note(`The copy lacks ${nameUnsafe(one)}.`);
}
