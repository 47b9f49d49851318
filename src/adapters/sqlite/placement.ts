/** Placement on the store's own database: one constant owner, leases in the sessions' rows. */
import type { Lease, Placement } from "../../memory/ports/placement.ts";
import type { SqliteStore } from "./store.ts";

export interface SqlitePlacementOptions {
  readonly store: SqliteStore;
  /** The same for every life of the daemon of one home. */
  readonly owner: string;
}

/** Lives as long as the store that it was given. */
export class SqlitePlacement implements Placement {
  readonly owner: string;
  readonly #store: SqliteStore;

  constructor({ store, owner }: SqlitePlacementOptions) {
    this.#store = store;
    this.owner = owner;
  }

  acquire(sessionId: string): Promise<Lease> {
    return this.#store.acquireLease(sessionId, this.owner);
  }

  release(sessionId: string, lease: Lease): Promise<void> {
    return this.#store.releaseLease(sessionId, lease);
  }
}
