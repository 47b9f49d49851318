import { ExecuteCodeError } from "../contract/errors.ts";
import type { Store, StoredSession } from "./ports/store.ts";

/** A session by name or id, also a closed one. Throws `unknown_session`. */
export async function storedSession(store: Store, ref: string): Promise<StoredSession> {
  const stored = await store.findSession(ref);
  if (stored === null) {
    throw new ExecuteCodeError("unknown_session", { message: `There is no session \`${ref}\`.` });
  }
  return stored;
}
