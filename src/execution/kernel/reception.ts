/**
 * Where the processes of a box dial in. Session code can dial, too: a connection is nobody until it has named a nonce
 * that is expected, and that nonce serves once.
 */
import { createServer, type Server, type Socket } from "node:net";
import { HelloFrame } from "../../contract/frames.ts";
import { FrameReader } from "./frames.ts";

/** Connections at a time that nobody expects. */
const STRANGERS = 64;
/** What a connection may send before it has said who it is, and how long it may take for that. */
const HELLO_BYTES = 64 * 1024;
const HELLO_MS = 15_000;

/** Takes over the connection of who is expected. `pid`: as it is known inside; `frames` came with its greeting. */
export type Greet = (socket: Socket, pid: number, frames: unknown[]) => void;

export class Reception {
  readonly #onRefused: (error: unknown) => void;
  readonly #expected = new Map<string, Greet>();
  /** Connections that have not said who they are. */
  readonly #strangers = new Set<Socket>();
  readonly #listener: Server;

  /** `onRefused` is told why a connection was refused. */
  constructor(onRefused: (error: unknown) => void) {
    this.#onRefused = onRefused;
    this.#listener = createServer((socket) => this.#onDial(socket));
  }

  /** Listens at a path. */
  listen(address: string): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#listener.once("error", reject);
    this.#listener.listen(address, resolve);
    return promise;
  }

  /** Somebody will dial in with this nonce. */
  expect(nonce: string, greet: Greet): void {
    this.#expected.set(nonce, greet);
  }

  /** Nobody is expected with this nonce any more. */
  forget(nonce: string): void {
    this.#expected.delete(nonce);
  }

  close(): void {
    this.#listener.close();
  }

  #onDial(socket: Socket): void {
    socket.once("error", () => socket.destroy());
    if (this.#strangers.size >= STRANGERS + this.#expected.size) {
      socket.destroy();
      return;
    }
    this.#strangers.add(socket);
    const reader = new FrameReader();
    const timer = setTimeout(() => socket.destroy(), HELLO_MS);
    socket.once("close", () => {
      clearTimeout(timer);
      this.#strangers.delete(socket);
    });
    let received = 0;
    const onData = (chunk: Buffer): void => {
      try {
        received += chunk.length;
        const [first, ...rest] = reader.push(chunk);
        if (first === undefined) {
          if (received > HELLO_BYTES) throw new Error("it does not say who it is");
          return;
        }
        const { nonce, pid } = HelloFrame.parse(first);
        const greet = this.#expected.get(nonce);
        if (greet === undefined) throw new Error("unknown nonce");
        this.#expected.delete(nonce);
        clearTimeout(timer);
        this.#strangers.delete(socket);
        socket.off("data", onData);
        greet(socket, pid, rest);
      } catch (error) {
        this.#onRefused(error);
        socket.destroy();
      }
    };
    socket.on("data", onData);
  }
}
