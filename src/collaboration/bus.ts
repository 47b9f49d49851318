/**
 * The Bus port: carries requests to whoever serves a subject and streams frames back; and publishes events.
 * Truth never lives on it. Subjects are dot-separated words (`session.sess_…`).
 *
 * Embedded: in process, below. Distributed (later): NATS core, the same subjects.
 */
export type Handler = (request: unknown, signal: AbortSignal) => AsyncIterable<unknown>;
export type Listener = (message: unknown) => void;

/** Ends a service or a subscription. */
export type Unsubscribe = () => void;

export interface Bus {
  /** Serves a subject; at most one server a subject. */
  serve(subject: string, handler: Handler): Unsubscribe;
  /** Frames of the answer, in order. Fails at once with NoResponders when nobody serves the subject. */
  call(subject: string, request: unknown, signal?: AbortSignal): AsyncIterable<unknown>;
  /** Delivers to all who listen to exactly this subject; without listeners the message is gone. */
  publish(subject: string, message: unknown): void;
  subscribe(subject: string, listener: Listener): Unsubscribe;
}

export class NoResponders extends Error {
  constructor(subject: string) {
    super(`nobody serves ${subject}`);
    this.name = "NoResponders";
  }
}

export class EmbeddedBus implements Bus {
  readonly #servers = new Map<string, Handler>();
  readonly #listeners = new Map<string, Set<Listener>>();

  serve(subject: string, handler: Handler): Unsubscribe {
    if (this.#servers.has(subject)) throw new Error(`${subject} is served already`);
    this.#servers.set(subject, handler);
    return () => {
      if (this.#servers.get(subject) === handler) this.#servers.delete(subject);
    };
  }

  call(subject: string, request: unknown, signal?: AbortSignal): AsyncIterable<unknown> {
    const handler = this.#servers.get(subject);
    if (handler === undefined) throw new NoResponders(subject);
    return handler(request, signal ?? new AbortController().signal);
  }

  publish(subject: string, message: unknown): void {
    for (const listener of this.#listeners.get(subject) ?? []) listener(message);
  }

  subscribe(subject: string, listener: Listener): Unsubscribe {
    const set = this.#listeners.get(subject) ?? new Set();
    this.#listeners.set(subject, set);
    set.add(listener);
    return () => {
      set.delete(listener);
      if (set.size === 0) this.#listeners.delete(subject);
    };
  }
}
