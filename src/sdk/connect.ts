import path from "node:path";
import { homeFolder } from "../contract/location.ts";
import { Client } from "./client.ts";

export interface ConnectOptions {
  /** The folder with all state. Default: EXECUTE_CODE_HOME, else the user's state folder. */
  readonly home?: string | undefined;
  /** Whether to start a daemon when none runs. Default true. */
  readonly start?: boolean | undefined;
  /** Where a daemon that is started serves HTTP on loopback, too: `127.0.0.1:PORT`. Default: on its socket only. */
  readonly http?: string | undefined;
  /** The environment that settings are taken from and a started daemon gets. Default: this process's. */
  readonly env?: NodeJS.ProcessEnv | undefined;
  /** Who asks, for the records' cause; at most 64 characters. Default `sdk`. */
  readonly client?: string | undefined;
}

/**
 * A client of the home's daemon, which is started when none runs and goes on when this process ends.
 * Fails with daemon_unreachable (none runs, and none is to be started), daemon_start_failed, or the error that the
 * starting daemon met: home_unusable, database_damaged, no_python and their like.
 */
export async function connect(options: ConnectOptions = {}): Promise<Client> {
  const client = createClient(options);
  await client.reach();
  return client;
}

/** A client that reaches for the daemon with its first call. */
export function createClient(options: ConnectOptions = {}): Client {
  const env = options.env ?? process.env;
  return new Client({
    home: options.home === undefined ? homeFolder(env) : path.resolve(options.home),
    start: options.start ?? true,
    http: options.http,
    env,
    client: options.client ?? "sdk",
  });
}
