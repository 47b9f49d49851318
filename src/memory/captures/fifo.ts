/** The reading end of a FIFO by which contents come, one after the other. */
import { Socket } from "node:net";
import { Refusal } from "../ports/failure.ts";

export class Fifo {
  readonly #socket: Socket;
  readonly #chunks: AsyncIterator<Buffer>;
  #before: Promise<unknown> = Promise.resolve();
  /** What was read and belongs to the next content. */
  #rest: Buffer = Buffer.alloc(0);

  /** Takes over the descriptor. */
  constructor(fd: number) {
    this.#socket = new Socket({ fd, readable: true, writable: false });
    this.#socket.on("error", () => this.#socket.destroy());
    this.#chunks = (this.#socket as AsyncIterable<Buffer>)[Symbol.asyncIterator]();
  }

  /**
   * `use` gets the chunks of the next content, which has so many bytes; contents come in the order of the calls, and
   * after one that could not be taken there is none. Throws `capture_failed` when a content ends before its end.
   */
  take<T>(bytes: number, use: (chunks: AsyncIterable<Buffer>) => Promise<T>): Promise<T> {
    const taken = this.#before.then(() => use(this.#read(bytes)));
    this.#before = taken;
    return taken;
  }

  async *#read(bytes: number): AsyncGenerator<Buffer> {
    let left = bytes;
    while (left > 0) {
      if (this.#rest.length === 0) {
        const next = await this.#chunks.next();
        if (next.done === true) {
          throw new Refusal("capture_failed", {}, "A content ended before its end.");
        }
        this.#rest = next.value;
      }
      const chunk = this.#rest.subarray(0, left);
      this.#rest = this.#rest.subarray(chunk.length);
      left -= chunk.length;
      yield chunk;
    }
  }

  close(): void {
    this.#socket.destroy();
  }
}
