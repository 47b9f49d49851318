/**
 * The FIFOs that a kernel writes its output to, seen from the reading side. A pair belongs to the execution that last
 * ran with it: what arrives on it after that execution's end is late output of the same.
 */
import { constants, openSync, readSync } from "node:fs";
import { Socket } from "node:net";
import { LIMITS } from "../../contract/limits.ts";

export type StreamName = "stdout" | "stderr";

/** What a FIFO holds at the most. */
const PIPE_BYTES = 1024 * 1024;
/** What every read of every stream goes into: its content is passed on, and copied there, before the next read. */
const buffer = Buffer.allocUnsafe(PIPE_BYTES);

/** The reading end of one FIFO. The socket owns the descriptor. */
class OutputStream {
  readonly #fd: number;
  readonly #socket: Socket;
  readonly #take: (bytes: Buffer) => void;
  /** Told of every chunk. */
  #arrived: (() => void) | null = null;

  constructor(fd: number, take: (bytes: Buffer) => void, onEnd: () => void) {
    this.#fd = fd;
    this.#take = take;
    const onread = {
      buffer,
      callback: (bytes: number): boolean => {
        take(buffer.subarray(0, bytes));
        this.#arrived?.();
        return true;
      },
    };
    const socket = new Socket({ fd, readable: true, writable: false, onread });
    this.#socket = socket;
    socket.on("error", () => socket.destroy());
    socket.on("close", onEnd);
    socket.resume();
  }

  /** Reads at once what lies in the FIFO. */
  readDry(): void {
    if (this.#socket.destroyed) return;
    for (let bytes = PIPE_BYTES; bytes === PIPE_BYTES; ) {
      try {
        bytes = readSync(this.#fd, buffer);
      } catch (error) {
        // The event loop has been quicker: there is nothing left.
        if ((error as NodeJS.ErrnoException).code === "EAGAIN") return;
        throw error;
      }
      if (bytes > 0) this.#take(buffer.subarray(0, bytes));
    }
  }

  /** Reads a dead kernel's stream to its end, or until nothing has come for a moment: a child may hold it open. */
  drain(): Promise<void> {
    const socket = this.#socket;
    return new Promise((resolve) => {
      if (socket.destroyed || socket.readableEnded) {
        resolve();
        return;
      }
      const finish = (): void => {
        clearTimeout(timer);
        socket.destroy();
        resolve();
      };
      const timer = setTimeout(finish, LIMITS.drainQuietMs);
      this.#arrived = () => timer.refresh();
      socket.once("end", finish);
      socket.once("close", finish);
    });
  }

  close(): void {
    this.#socket.destroy();
  }
}

/** stdout and stderr of one execution, or of several that followed each other. */
export class OutputPair {
  /** The execution whose output this is, or was. */
  execution = "";
  readonly #stdout: OutputStream;
  readonly #stderr: OutputStream;
  #open = 2;

  /**
   * The descriptors of the reading ends, which it takes over. `onOutput`: the bytes are only valid during the call.
   * `onEnd`: nobody can write to it any more.
   */
  constructor(
    fds: readonly [stdout: number, stderr: number],
    onOutput: (pair: OutputPair, stream: StreamName, bytes: Buffer) => void,
    onEnd: (pair: OutputPair) => void,
  ) {
    const ended = (): void => {
      this.#open -= 1;
      if (this.#open === 0) onEnd(this);
    };
    this.#stdout = new OutputStream(fds[0], (bytes) => onOutput(this, "stdout", bytes), ended);
    this.#stderr = new OutputStream(fds[1], (bytes) => onOutput(this, "stderr", bytes), ended);
  }

  readDry(stream: StreamName): void {
    (stream === "stdout" ? this.#stdout : this.#stderr).readDry();
  }

  async drain(): Promise<void> {
    await Promise.all([this.#stdout.drain(), this.#stderr.drain()]);
  }

  close(): void {
    this.#stdout.close();
    this.#stderr.close();
  }
}

/**
 * The reading end, opened before the kernel opens its own. Without O_NONBLOCK the opening would wait for a writer;
 * Linux reports no end of file before the first writer has come.
 */
export function openReading(file: string): number {
  return openSync(file, constants.O_RDONLY | constants.O_NONBLOCK);
}
