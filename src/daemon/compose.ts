/** The only place that wires everything: layers to adapters, and layers to each other. */
import { mkdir, readdir, rm, rmdir } from "node:fs/promises";
import path from "node:path";
import { SqlitePlacement, SqliteStore } from "../adapters/sqlite/index.ts";
import { EmbeddedBus } from "../collaboration/index.ts";
import { cacheFolder } from "../contract/location.ts";
import {
  type Interpreters,
  type Isolation,
  Kernels,
  Packages,
  probeIsolation,
  sweep,
} from "../execution/index.ts";
import { Artifacts, Captures, History, Sessions, type Store } from "../memory/index.ts";
import type { Logger } from "../platform/logger.ts";
import type { Paths } from "../platform/paths.ts";
import { Router } from "./router.ts";

/** The constant owner of the embedded placement: one daemon a home. */
const OWNER = "local";
const DEFAULT_WARM = 2;

export interface Services {
  readonly paths: Paths;
  readonly log: Logger;
  readonly store: Store;
  readonly artifacts: Artifacts;
  readonly interpreters: Interpreters;
  readonly kernels: Kernels;
  readonly packages: Packages;
  readonly captures: Captures;
  readonly history: History;
  readonly sessions: Sessions;
  readonly router: Router;
  readonly isolation: Isolation;
}

/** Everything the daemon serves, started and ready. Throws the storage errors of the store's start. */
export async function compose(
  paths: Paths,
  interpreters: Interpreters,
  env: NodeJS.ProcessEnv,
  log: Logger,
): Promise<Services> {
  // Python takes longest to start, so it begins before the store; what an earlier life left in the way, and the probe
  // that says how kernels are isolated, go before it.
  const left = sweep(paths.runtime);
  if (left > 0) log.warn({ processes: left }, "what an earlier life left behind was ended");
  await rm(paths.runtime, { recursive: true, force: true });
  await mkdir(paths.runtime, { recursive: true, mode: 0o700 });
  const isolation = await probeIsolation({
    cache: path.join(cacheFolder(env), "python"),
    filter: path.join(paths.runtime, "seccomp"),
    interpreters,
    env,
  });
  const kernels = new Kernels({
    interpreters,
    isolation,
    home: paths.home,
    runtime: paths.runtime,
    sessions: paths.sessions,
    warm: warmBoxes(env),
    env,
    log,
  });
  kernels.start();
  const packages = new Packages({ interpreters, isolation, runtime: paths.runtime, env, log });

  const sqlite = new SqliteStore({
    file: paths.database,
    log: (message, details) => log.warn({ details }, message),
  });
  const store: Store = sqlite;
  const artifacts = new Artifacts(paths.artifacts);
  const captures = new Captures(store, paths.captures, log);
  try {
    await Promise.all([store.start(), artifacts.start(), captures.start()]);
  } catch (error) {
    await kernels.close();
    await store.close();
    throw error;
  }
  const recovered = await store.recover(OWNER, new Date().toISOString());
  if (recovered.length > 0)
    log.warn({ executions: recovered.length }, "unfinished executions became interrupted");

  const history = new History(store, artifacts);
  const router = new Router(new EmbeddedBus(), history);
  const sessions = new Sessions({
    store,
    artifacts,
    kernels,
    packages,
    captures,
    log,
    placement: new SqlitePlacement({ store: sqlite, owner: OWNER }),
    defaultPython: interpreters.defaultName,
    onOwned: (session) => router.own(session),
    onGivenUp: (session) => router.giveUp(session),
    onAccepted: (execution) => history.add(execution),
    onRecorded: (execution) => history.settle(execution),
  });
  await sessions.start();
  return {
    paths,
    log,
    store,
    artifacts,
    interpreters,
    kernels,
    packages,
    captures,
    history,
    sessions,
    router,
    isolation,
  };
}

/** EXECUTE_CODE_WARM: how many kernels are kept ready for new sessions. */
function warmBoxes(env: NodeJS.ProcessEnv): number {
  const wanted = Number(env.EXECUTE_CODE_WARM ?? DEFAULT_WARM);
  return Number.isInteger(wanted) && wanted >= 0 && wanted <= 64 ? wanted : DEFAULT_WARM;
}

/** Folders that an earlier life made for sessions which never came to be. Those with anything in them stay. */
export async function removeUnusedFolders(services: Services): Promise<void> {
  const { sessions: folder } = services.paths;
  const known = new Set((await services.sessions.list({ closed: true })).map((session) => session.id));
  for (const name of await readdir(folder)) {
    if (known.has(name) || services.kernels.reserved(name)) continue;
    for (const empty of [path.join(folder, name, "work"), path.join(folder, name)]) {
      await rmdir(empty).catch((error: NodeJS.ErrnoException) => {
        if (error.code !== "ENOTEMPTY" && error.code !== "ENOENT") throw error;
      });
    }
  }
}
