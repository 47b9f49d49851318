/** The connection to the daemon: calls that are made again, and streams that go on, while it stops and starts. */
import type { IncomingMessage } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import { ROUTES, type RouteName, type RouteResponse } from "../contract/api.ts";
import { ExecuteCodeError } from "../contract/errors.ts";
import { ExecutionEvent } from "../contract/events.ts";
import { daemonSocket } from "../contract/location.ts";
import {
  callOf,
  checkLength,
  closed,
  fileLost,
  isBreak,
  type RouteInput,
  refusal,
  repeat,
  understood,
} from "./calls.ts";
import { type DownloadOptions, type DownloadToOptions, type Outgoing, receive } from "./files.ts";
import type { ClientOptions } from "./options.ts";
import { ConnectionError, readAll, readLines, Transport } from "./transport.ts";

/** How long a daemon may take to answer, its start included, and to make room for its successor. */
export const REACH_MS = 15_000;
/** Stopped streams and refused connections are tried again this often in a row before the call fails. */
const ATTEMPTS = 5;
/** Calls that change something each time: one that the daemon may have seen is not sent again. */
const ONCE: ReadonlySet<RouteName> = new Set([
  "createSession",
  "resetSession",
  "closeSession",
  "takeSnapshot",
  "dropSnapshot",
  "rollback",
  "capture",
  "restoreSession",
  "merge",
  "bisect",
  "replay",
  "forkSession",
  "install",
  "input",
  "stop",
]);

/** One way to a home's daemon. Every failure is an ExecuteCodeError. */
export class Connection {
  readonly #options: ClientOptions;
  readonly #transport: Transport;
  #reaching: Promise<void> | null = null;
  #closed = false;

  constructor(options: ClientOptions) {
    this.#options = options;
    this.#transport = new Transport(daemonSocket(options.home));
  }

  /** Resolves when the daemon answers, starting it first when that was allowed. */
  async reach(): Promise<void> {
    this.#reaching ??= this.#launch();
    await this.#reaching;
  }

  async #launch(): Promise<void> {
    try {
      // Loaded when needed: most clients find the daemon running with their first call.
      const { reachDaemon } = await import("./launch.ts");
      await reachDaemon(this.#transport, this.#options, REACH_MS);
    } finally {
      this.#reaching = null;
    }
  }

  /** Ends the client's connections, and with them the calls under way. Executions run on. */
  close(): void {
    this.#closed = true;
    this.#transport.close();
  }

  /** Makes a call; its answer is checked to be what the route promises. */
  async call<N extends RouteName>(name: N, input: RouteInput<N>): Promise<RouteResponse<N>> {
    const { bytes } = await this.exchange(name, input);
    return understood<RouteResponse<N>>(ROUTES[name].response, bytes.toString());
  }

  /** Makes a call whose answer is raw content. */
  exchange<N extends RouteName>(name: N, input: RouteInput<N>): Promise<{ type: string; bytes: Buffer }> {
    const call = callOf(name, input);
    return this.#reliably(!ONCE.has(name), async (repeated) => {
      const answer = await this.#transport.request(repeated ? callOf(name, repeat(input)) : call);
      if (answer.status >= 400) throw refusal(answer.status, answer.bytes);
      return answer;
    });
  }

  /** Raw content, or the number of its bytes when it goes elsewhere. `remedy`: for a connection that breaks. */
  content(
    call: ReturnType<typeof callOf>,
    name: string,
    options: DownloadOptions | DownloadToOptions,
    remedy: string,
  ): Promise<Buffer | number> {
    // What a stream was given cannot be taken back.
    const repeatable = !("to" in options) || typeof options.to === "string";
    const received = this.#reliably(repeatable, async () => {
      const response = await this.#transport.open({ ...call, ownConnection: !repeatable });
      const status = response.statusCode ?? 0;
      if (status >= 400) throw refusal(status, await readAll(response));
      try {
        checkLength(response, name, options.maxBytes);
        return "to" in options ? await receive(response, options) : await readAll(response);
      } finally {
        response.destroy();
      }
    });
    return received.catch(fileLost(remedy));
  }

  /** Sends content, and sends it again after a break where that is possible. */
  async send<N extends RouteName>(
    name: N,
    call: ReturnType<typeof callOf>,
    content: Outgoing,
  ): Promise<RouteResponse<N>> {
    const sent = this.#reliably(content.repeatable, async () => {
      const given = await this.#transport.request({ ...call, body: content.body, ownConnection: true });
      if (given.status >= 400 && !content.spent) throw refusal(given.status, given.bytes);
      return given;
    });
    const answer = await sent.catch(fileLost("Upload it again: the file is there whole, or not at all."));
    if (answer.status >= 400) throw refusal(answer.status, answer.bytes);
    return understood<RouteResponse<N>>(ROUTES[name].response, answer.bytes.toString());
  }

  /** Makes a call whose answer comes bit by bit. */
  open<N extends RouteName>(name: N, input: RouteInput<N>): Promise<IncomingMessage> {
    const call = callOf(name, input);
    return this.#reliably(true, async (repeated) => {
      const response = await this.#transport.open(repeated ? callOf(name, repeat(input)) : call);
      const status = response.statusCode ?? 0;
      if (status >= 400) throw refusal(status, await readAll(response));
      return response;
    });
  }

  /**
   * Makes an attempt, and makes it again: where the daemon cannot have seen it, after reaching (starting) the daemon;
   * where it may have, once, if repeating is safe; while the daemon stops, until the next one answers.
   */
  async #reliably<T>(repeatable: boolean, attempt: (repeated: boolean) => Promise<T>): Promise<T> {
    const deadline = performance.now() + REACH_MS;
    let repeated = false;
    for (let pause = 10; ; pause = Math.min(pause * 2, 200)) {
      if (this.#closed) throw closed();
      try {
        return await attempt(repeated);
      } catch (error) {
        const late = performance.now() > deadline;
        if (error instanceof ConnectionError) {
          if (this.#closed) throw closed();
          if (error.sent) {
            if (!repeatable || repeated) throw new ExecuteCodeError("connection_lost", { cause: error });
            repeated = true;
          } else if (late) {
            throw new ExecuteCodeError("daemon_unreachable", { cause: error });
          }
          await this.reach();
        } else if (error instanceof ExecuteCodeError && error.code === "daemon_stopping" && !late) {
          await sleep(pause);
        } else {
          throw error;
        }
      }
    }
  }

  /** Events from `open`, and after a break those of the same execution from the last offset on. */
  async *resumed(
    open: () => Promise<IncomingMessage>,
    id?: string,
    offset = 0,
  ): AsyncGenerator<ExecutionEvent, void> {
    let source = open;
    let execution = id;
    let last = offset;
    for (let failures = 0; ; ) {
      let response: IncomingMessage | undefined;
      try {
        response = await source();
        for await (const line of readLines(response)) {
          const event = understood<ExecutionEvent>(ExecutionEvent, line);
          if (event.type === "failed") throw ExecuteCodeError.fromBody(event.error);
          if (event.type === "accepted") execution = event.id;
          failures = 0;
          last = event.offset;
          yield event;
          if (event.type === "end" || event.type === "detached") return;
        }
        throw new ConnectionError(undefined, true);
      } catch (error) {
        if (!isBreak(error)) throw error;
        if (this.#closed) throw closed();
        failures += 1;
        if (failures >= ATTEMPTS) throw new ExecuteCodeError("connection_lost", { cause: error });
      } finally {
        response?.destroy();
      }
      if (execution !== undefined) {
        const params = { id: execution };
        const query = { offset: last };
        source = () => this.open("follow", { params, query });
      }
    }
  }
}
