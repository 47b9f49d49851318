/** `daemon start|stop|status`. */
import { ExecuteCodeError } from "../contract/errors.ts";
import { type Client, connect, formatDuration, type Health } from "../sdk/index.ts";
import { writeFacts, writeJson, writeLine } from "./terminal.ts";

interface Flags {
  json?: boolean;
}

export async function start(flags: Flags): Promise<number> {
  await using client = await connect({ client: "cli" });
  await writeHealth(await client.health(), flags);
  return 0;
}

export async function status(flags: Flags): Promise<number> {
  await using client = await connect({ client: "cli", start: false });
  await writeHealth(await client.health(), flags);
  return 0;
}

/** None running is what was wanted, too. */
export async function stop(flags: Flags & { drain?: number }): Promise<number> {
  await using client = await running();
  const stopped = client === null ? null : await client.stop({ drainMs: flags.drain });
  if (flags.json) await writeJson({ stopped: stopped !== null, pid: stopped?.pid ?? null });
  else
    await writeLine(stopped === null ? "No daemon is running." : `Stopped the daemon (pid ${stopped.pid}).`);
  return 0;
}

async function running(): Promise<Client | null> {
  try {
    return await connect({ client: "cli", start: false });
  } catch (error) {
    if (error instanceof ExecuteCodeError && error.code === "daemon_unreachable") return null;
    throw error;
  }
}

async function writeHealth(health: Health, flags: Flags): Promise<void> {
  if (flags.json) {
    await writeJson(health);
    return;
  }
  await writeFacts({
    daemon: `running, pid ${health.pid}`,
    version: health.version,
    home: health.home,
    up: formatDuration(health.uptime_ms),
    python: health.python === null ? "none" : `${health.python.version} (${health.python.executable})`,
    isolation: health.isolation,
    sessions: health.sessions,
    running: health.running,
    warm: health.warm,
    memory: `${Math.round(health.rss_bytes / 1_048_576)} MiB`,
  });
}
