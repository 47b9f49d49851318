/**
 * What the sessions of this server are granted: what its user has said on its command line. A model, which may have
 * read what it should not believe, gets no more.
 */
import type { SessionInfo } from "../contract/records.ts";
import { type Client, ExecuteCodeError, type Grants } from "../sdk/index.ts";

export type CreateOptions = Parameters<Client["createSession"]>[0];

export class GrantedSessions {
  readonly #client: Client;
  readonly #grants: Grants;
  readonly #asked: boolean;
  /** Sessions that are known to be there. */
  readonly #known = new Set<string>();

  constructor(client: Client, grants: Grants) {
    this.#client = client;
    this.#grants = grants;
    this.#asked = Object.values(grants).some((value) => value !== undefined);
  }

  create(options: Omit<NonNullable<CreateOptions>, "grants">): Promise<SessionInfo> {
    return this.#client.createSession({ ...options, grants: this.#grants });
  }

  /** Makes the session that code is to run in, with the grants, when there is none of that name. */
  async ensure(name: string, language: string | undefined): Promise<void> {
    if (!this.#asked || this.#known.has(name)) return;
    try {
      await this.create({ name, language });
    } catch (error) {
      if (!(error instanceof ExecuteCodeError) || error.code !== "session_exists") throw error;
    }
    this.#known.add(name);
  }

  /** The session is gone: the next of that name is a new one. */
  forget(name: string): void {
    this.#known.delete(name);
  }
}
