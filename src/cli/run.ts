/** `run`: code in, output as it appears, the result last. */

import type { OnError } from "../contract/api.ts";
import { LIMITS } from "../contract/limits.ts";
import type { Durability, ExecutionRecord, IsolationTier, OnBusy } from "../contract/records.ts";
import { type Client, createClient, type ExecuteRequest, statusLine } from "../sdk/index.ts";
import { Answers } from "./answers.ts";
import { type GrantFlags, grantsOf } from "./grants.ts";
import { EXIT, showEvents } from "./show.ts";
import { readCode, readsStandardInput } from "./source.ts";
import { aside, onReaderGone, writeJson } from "./terminal.ts";

interface RunFlags extends GrantFlags {
  code?: string;
  session: string;
  language?: string;
  /** Milliseconds. */
  timeout?: number;
  /** Milliseconds. */
  inputTimeout?: number;
  fresh?: boolean;
  durability?: Durability;
  onBusy?: OnBusy;
  onError?: OnError;
  isolation?: IsolationTier;
  env?: Record<string, string>;
  json?: boolean;
}

export async function run(file: string | undefined, flags: RunFlags): Promise<number> {
  const code = await readCode(file, flags.code);
  const stop = new AbortController();
  listenForSignals(stop);
  await using client = createClient({ client: "cli" });
  const answers = new Answers(client, !readsStandardInput(file, flags.code));
  const request: ExecuteRequest = {
    code,
    session: flags.session,
    language: flags.language,
    timeoutMs: flags.timeout ?? LIMITS.longestMs,
    onTimeout: flags.timeout === undefined ? "detach" : "interrupt",
    inputTimeoutMs: flags.inputTimeout ?? answers.timeoutMs,
    durability: flags.durability,
    onBusy: flags.onBusy,
    onError: flags.onError,
    isolation: flags.isolation,
    grants: grantsOf(flags),
    env: flags.env,
    fresh: flags.fresh,
    signal: stop.signal,
  };
  try {
    if (flags.json) {
      const record = await recordOf(client, request, answers);
      await writeJson(record);
      return EXIT[record.status];
    }
    onReaderGone(() => stop.abort());
    const record = await showEvents(client, client.stream(request), {
      onQuestion: (id, question) => void answers.answer(id, question),
    });
    aside(statusLine(record));
    return EXIT[record.status];
  } finally {
    answers.close();
  }
}

/** The first signal interrupts the code, whose record is still awaited; the second leaves at once. */
function listenForSignals(stop: AbortController): void {
  const interrupt = () => {
    if (stop.signal.aborted) process.exit(3);
    stop.abort();
    aside("Interrupting. Again to leave at once.");
  };
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, interrupt);
}

async function recordOf(client: Client, request: ExecuteRequest, answers: Answers): Promise<ExecutionRecord> {
  let record = await client.execute({ ...request, onInput: "detach" });
  while (record.status === "running") {
    const { id, input_requested: question } = record;
    if (question === null) {
      record = await client.wait(id, LIMITS.longestMs, { until: "input" });
      continue;
    }
    const answered = await answers.answer(id, question);
    record = await client.wait(id, LIMITS.longestMs, { until: answered ? "input" : "end" });
  }
  return record;
}
