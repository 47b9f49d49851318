/**
 * The Placement port: which daemon runs a session. A session's lease carries an epoch, the fencing token that
 * every write of its history names; whoever acquires the session anew raises it.
 *
 * Embedded: one constant owner. Distributed (later): a row per node and per session, with heartbeats.
 */
export interface Lease {
  readonly owner: string;
  readonly epoch: number;
}

export interface Placement {
  /** This daemon's name as an owner. */
  readonly owner: string;
  /** Makes this daemon the session's owner, raising the epoch when it was not before. */
  acquire(sessionId: string): Promise<Lease>;
  /** Gives the session up; its next owner starts from a higher epoch. */
  release(sessionId: string, lease: Lease): Promise<void>;
}
