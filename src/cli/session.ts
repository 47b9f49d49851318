/** `session list|create|show|reset|close`. */
import type {
  CapturePolicy,
  Durability,
  IsolationTier,
  OnBusy,
  SessionInfo,
  SnapshotPolicy,
} from "../contract/records.ts";
import { createClient, formatBytes, formatDuration, type Profile } from "../sdk/index.ts";
import { type GrantFlags, grantsOf } from "./grants.ts";
import { note, writeFacts, writeJson, writeTable } from "./terminal.ts";

interface Flags {
  json?: boolean;
}

export async function list(flags: Flags & { closed?: boolean }): Promise<number> {
  await using client = createClient({ client: "cli" });
  const sessions = await client.sessions({ closed: flags.closed ?? false });
  if (flags.json) await writeJson({ sessions });
  else if (sessions.length === 0) note("There are no sessions. Running code creates one.");
  else {
    await writeTable(
      ["NAME", "STATE", "LANGUAGE", "REVISION", "GENERATION", "CREATED"],
      sessions.map((one) => [
        one.name,
        one.state,
        one.language,
        String(one.revision),
        String(one.generation),
        one.created_at,
      ]),
    );
  }
  return 0;
}

export async function create(
  name: string | undefined,
  flags: Flags &
    GrantFlags & {
      language?: string;
      python?: string;
      durability?: Durability;
      onBusy?: OnBusy;
      snapshots?: SnapshotPolicy;
      capture?: CapturePolicy;
      isolation?: IsolationTier;
    },
): Promise<number> {
  await using client = createClient({ client: "cli" });
  const { language, python, durability, onBusy, snapshots, capture, isolation } = flags;
  return await answer(
    await client.createSession({
      name,
      language,
      python,
      durability,
      onBusy,
      snapshots,
      capture,
      isolation,
      grants: grantsOf(flags),
    }),
    flags,
  );
}

export async function install(
  name: string,
  packages: string[],
  flags: Flags & { upgrade?: boolean; timeout?: number },
): Promise<number> {
  await using client = createClient({ client: "cli" });
  const options = { upgrade: flags.upgrade, timeoutMs: flags.timeout };
  const installation = await client.install(name, packages, options);
  if (flags.json) await writeJson(installation);
  else if (installation.installed.length === 0) note("Everything was there already.");
  else
    await writeTable(
      ["PACKAGE", "VERSION"],
      installation.installed.map((one) => [one.name, one.version]),
    );
  return 0;
}

export async function show(name: string, flags: Flags): Promise<number> {
  await using client = createClient({ client: "cli" });
  return await answer(await client.showSession(name), flags);
}

export async function reset(name: string, flags: Flags): Promise<number> {
  await using client = createClient({ client: "cli" });
  return await answer(await client.resetSession(name), flags);
}

export async function close(name: string, flags: Flags): Promise<number> {
  await using client = createClient({ client: "cli" });
  return await answer(await client.closeSession(name), flags);
}

/** What the session is granted, as far as it is something. */
function grantFacts(profile: Profile): Record<string, string | number | null> {
  const list = (values: readonly string[]): string | null => values.join(", ") || null;
  return {
    reads: list(profile.read),
    writes: list(profile.write),
    network: list([...profile.allow_net, ...profile.allow_private_net]),
    memory: formatBytes(profile.memory_bytes),
    cpus: profile.cpus,
    processes: profile.processes,
    disk: formatBytes(profile.disk_bytes),
    output: formatBytes(profile.output_bytes),
    "wall time": profile.wall_ms === null ? null : formatDuration(profile.wall_ms),
    installs: profile.install ? "yes" : "no",
  };
}

function origin({ forked_from: from }: SessionInfo): string | null {
  return from === null ? null : `${from.session} after ${from.execution ?? "its beginning"}`;
}

async function answer(session: SessionInfo, flags: Flags): Promise<number> {
  if (flags.json) await writeJson(session);
  else {
    await writeFacts({
      name: session.name,
      id: session.id,
      state: session.state,
      language: session.language,
      python: session.python,
      revision: session.revision,
      generation: session.generation,
      durability: session.durability,
      isolation: session.isolation,
      "on busy": session.on_busy,
      snapshots: session.snapshots,
      capture: session.capture,
      "forked from": origin(session),
      head: session.head,
      workspace: session.workspace,
      ...grantFacts(session.profile),
      packages: session.packages.map(({ name, version }) => `${name} ${version}`).join(", ") || null,
      created: session.created_at,
      closed: session.closed_at,
      queued: session.queued,
      running: session.running,
      pid: session.pid,
    });
  }
  return 0;
}
