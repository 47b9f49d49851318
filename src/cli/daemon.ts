/** `daemon start|stop|status`. */
import { ExecuteCodeError } from "../contract/errors.ts";
import { type Client, connect, formatDuration, type Health } from "../sdk/index.ts";
import { writeFacts, writeJson, writeLine } from "./terminal.ts";

interface Flags {
  json?: boolean;
}

export async function start(flags: Flags & { http?: string }): Promise<number> {
  await using client = await connect({
    client: "cli",
    ...(flags.http === undefined ? {} : { http: flags.http }),
  });
  const health = await client.health();
  if (flags.http !== undefined && health.http === null) {
    throw new ExecuteCodeError("home_in_use", {
      message: `The daemon runs already (pid ${health.pid}), without HTTP.`,
      remedy: "Stop it first: execute-code daemon stop.",
    });
  }
  await writeHealth(health, flags);
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
    http: health.http === null ? null : `${health.http.url}, token in ${health.http.token_file}`,
    sessions: health.sessions,
    running: health.running,
    warm: health.warm,
    memory: `${Math.round(health.rss_bytes / 1_048_576)} MiB`,
  });
}
