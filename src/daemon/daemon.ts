/**
 * The daemon's life. States: starting → serving → stopping → stopped.
 *
 * Stopping: nothing new is taken; what runs gets the time given; then kernels are closed (what still ran is recorded
 * as interrupted), the history is checkpointed, and the home is free for the next owner.
 */
import { chmodSync, rmSync } from "node:fs";
import type { RequestListener, Server } from "node:http";
import { getRequestListener } from "@hono/node-server";
import { ExecuteCodeError } from "../contract/errors.ts";
import type { Interpreters } from "../execution/index.ts";
import type { Logger } from "../platform/logger.ts";
import type { Paths } from "../platform/paths.ts";
import { VERSION } from "../platform/version.ts";
import { compose, removeUnusedFolders, type Services } from "./compose.ts";
import { HomeLock } from "./home.ts";
import { createApp } from "./http/app.ts";
import { createHandlers } from "./http/handlers.ts";
import { addressOf, type Loopback, listenLoopback, loadToken } from "./http/loopback.ts";

// An import statement would evaluate every export of node:http, of which one loads a whole WebSocket client: 50 ms.
const { createServer } = process.getBuiltinModule("node:http");

const DRAIN_POLL_MS = 20;
/** A request's address and headers: what a command line can hold is read, so that it can be said what is wrong with it. */
const HEAD_BYTES = 1024 * 1024;

export class Daemon {
  readonly #paths: Paths;
  readonly #log: Logger;
  readonly #lock: HomeLock;
  readonly #services: Services;
  readonly #server: Server;
  readonly #listener: RequestListener;
  #loopback: Server | null = null;
  readonly #stopped = Promise.withResolvers<void>();
  #stopping = false;

  private constructor(paths: Paths, log: Logger, lock: HomeLock, services: Services) {
    this.#paths = paths;
    this.#log = log;
    this.#lock = lock;
    this.#services = services;
    const app = createApp({
      log,
      stopping: () => this.#stopping,
      handlers: createHandlers(services, {
        startedAt: new Date(),
        http: () => this.#http(),
        stop: (drainMs) => setImmediate(() => void this.stop(drainMs)),
      }),
    });
    const listener = getRequestListener(app.fetch);
    this.#listener = (incoming, outgoing) => void listener(incoming, outgoing);
    this.#server = createServer({ keepAliveTimeout: 0, maxHeaderSize: HEAD_BYTES }, this.#listener);
    this.#server.requestTimeout = 0;
  }

  /**
   * `loopback`: where to serve on TCP as well. Throws `home_unusable`, `home_in_use`, `address_unusable`, or what the
   * store says of its database. The home must be prepared.
   */
  static async start(
    paths: Paths,
    interpreters: Interpreters,
    loopback: Loopback | null,
    log: Logger,
  ): Promise<Daemon> {
    const lock = HomeLock.acquire(paths);
    try {
      const services = await compose(paths, interpreters, process.env, log);
      const daemon = new Daemon(paths, log, lock, services);
      if (loopback !== null) await daemon.#serveLoopback(loopback);
      await daemon.#listen();
      log.info(
        { pid: process.pid, version: VERSION, home: paths.home, isolation: services.isolation.strongest },
        "serving",
      );
      services.captures
        .sweep()
        .catch((error: unknown) => log.warn({ err: error }, "contents of captures that nobody needs stay"));
      removeUnusedFolders(services).catch((error: unknown) =>
        log.warn({ err: error }, "unused folders stay"),
      );
      return daemon;
    } catch (error) {
      lock.release();
      throw error;
    }
  }

  /** Resolves when it has stopped. */
  get stopped(): Promise<void> {
    return this.#stopped.promise;
  }

  async #serveLoopback(loopback: Loopback): Promise<void> {
    this.#loopback = await listenLoopback(loopback, loadToken(this.#paths.token), this.#listener);
    this.#log.info({ url: addressOf(this.#loopback) }, "serving on loopback");
  }

  #http(): { url: string; token_file: string } | null {
    if (this.#loopback === null) return null;
    return { url: addressOf(this.#loopback), token_file: this.#paths.token };
  }

  async #listen(): Promise<void> {
    // The lock is ours, so a socket file here belongs to nobody.
    rmSync(this.#paths.socket, { force: true });
    await new Promise<void>((resolve, reject) => {
      this.#server.once("error", (cause) =>
        reject(
          new ExecuteCodeError("home_unusable", {
            message: `No socket at ${this.#paths.socket}: ${cause.message}.`,
            cause,
          }),
        ),
      );
      this.#server.listen(this.#paths.socket, resolve);
    });
    chmodSync(this.#paths.socket, 0o600);
  }

  /** Stops once; later calls wait for the same end. */
  async stop(drainMs: number): Promise<void> {
    if (this.#stopping) return this.stopped;
    this.#stopping = true;
    const { history, router, sessions, kernels, packages, captures, store } = this.#services;
    this.#log.info({ running: history.running, drainMs }, "stopping");
    const deadline = Date.now() + drainMs;
    while (history.running + router.arriving > 0 && Date.now() < deadline) {
      await new Promise((resolve) => setTimeout(resolve, DRAIN_POLL_MS));
    }
    await sessions.suspend();
    packages.close();
    await kernels.close();
    await captures.close();
    rmSync(this.#paths.socket, { force: true });
    this.#server.close();
    this.#loopback?.close();
    this.#loopback?.closeAllConnections();
    this.#server.closeIdleConnections();
    await store.close();
    rmSync(this.#paths.runtime, { recursive: true, force: true });
    this.#server.closeAllConnections();
    this.#lock.release();
    this.#log.info("stopped");
    this.#stopped.resolve();
  }
}
