/** Progress of a long call, for clients that gave a progress token. */
import type { ServerContext } from "@modelcontextprotocol/server";
import { formatDuration } from "../sdk/index.ts";

/** A notification at least this often. */
const HEARTBEAT_MS = 4_000;
/** Progress that the code reports more often than this is passed over; its next report or the heartbeat tells. */
const QUICKEST_MS = 100;
/** The protocol demands a rising figure: a report that does not rise is sent as the last one and this much. */
const STEP = 0.001;

export interface Progress extends Disposable {
  /** What the code reported. */
  report(done: number, total: number | null, message: string): void;
}

/** Null when the client did not ask for progress. Sends a heartbeat until it is disposed. */
export function startProgress(ctx: ServerContext): Progress | null {
  const progressToken = ctx.mcpReq._meta?.progressToken;
  if (progressToken === undefined) return null;
  const started = performance.now();
  let last = 0;
  let lastSent = Number.NEGATIVE_INFINITY;
  let latest: { done: number; total: number | null; message: string } | null = null;

  const send = () => {
    const total = latest?.total ?? null;
    const running = `running, ${formatDuration(performance.now() - started)}`;
    last = latest !== null && latest.done > last ? latest.done : last + STEP;
    lastSent = performance.now();
    const params = {
      progressToken,
      progress: last,
      ...(total === null ? {} : { total }),
      message: latest?.message || running,
    };
    ctx.mcpReq.notify({ method: "notifications/progress", params }).catch(() => {});
  };
  const timer = setInterval(send, HEARTBEAT_MS);
  return {
    report(done, total, message) {
      latest = { done, total, message };
      if (performance.now() - lastSent >= QUICKEST_MS || done === total) send();
    },
    [Symbol.dispose]() {
      clearInterval(timer);
    },
  };
}
