/**
 * Looks for the execution that broke something: an expression is evaluated in copies of the session's past, between a
 * moment at which it held and one at which it no longer does.
 */
import type { BisectBody } from "../../contract/api.ts";
import { ExecuteCodeError } from "../../contract/errors.ts";
import type { ExecutionError } from "../../contract/records.ts";
import type { Bisection, BisectStep } from "../../contract/time-travel.ts";
import type { ExecutionSink, Kernel } from "../../execution/index.ts";
import { newExecutionId } from "../../platform/ids.ts";
import { NOT_COMPILED } from "../executions/not-compiled.ts";
import type { LineExecution } from "../ports/store.ts";
import { dependenceOf, reasonsOf } from "./dependence.ts";
import type { Session } from "./session.ts";

/** An expression's value is in the record's result; nothing else of the copy is. */
const NOBODY: ExecutionSink = {
  output: () => {},
  display: () => {},
  progress: () => {},
  call: () => Promise.reject(new Error("A copy of the session's past cannot ask the platform.")),
  input: () => Promise.reject(new Error("A copy of the session's past cannot ask for input.")),
  withdraw: () => {},
};

/** Throws `unknown_execution` for a bound that is not on the session's line, and `invalid_request`. */
export async function bisect(
  session: Session,
  line: readonly LineExecution[],
  { predicate, good, bad, timeout_ms: timeoutMs }: BisectBody,
): Promise<Bisection> {
  const steps: BisectStep[] = [];
  const known = new Map<number, BisectStep>();
  const dependsOn = dependenceOf(predicate, line);
  /** Moments are counted from 0, the beginning; moment n is after the line's n-th execution. */
  const idOf = (moment: number): string | null => line[moment - 1]?.id ?? null;
  const nameOf = (moment: number): string => idOf(moment) ?? "the beginning";
  const test = async (moment: number): Promise<BisectStep["outcome"]> => {
    let step = known.get(moment);
    if (step === undefined) {
      step = await evaluate(session, idOf(moment), predicate, timeoutMs, dependsOn);
      known.set(moment, step);
      steps.push(step);
    }
    return step.outcome;
  };
  const answer = (found: Partial<Bisection> & { summary: string }): Bisection => ({
    session: session.name,
    predicate,
    broken_by: null,
    last_good: null,
    candidates: [],
    steps,
    ...found,
  });

  const worst = bad === undefined ? line.length : momentOf(line, bad);
  const given = good === undefined ? null : momentOf(line, good);
  if (given !== null && given >= worst) {
    throw new ExecuteCodeError("invalid_request", {
      message: `${good} does not come before ${bad ?? "the head"} on the session's line.`,
      remedy: "Name an execution after which it held, and a later one after which it did not.",
    });
  }
  const untold = (moment: number): Bisection => {
    const detail = known.get(moment)?.detail ?? "no reason is known";
    return answer({ summary: `Whether it holds after ${nameOf(moment)} cannot be told: ${detail}.` });
  };
  const last = await test(worst);
  if (last === "undecided") return untold(worst);
  if (last === "good") {
    return answer({ last_good: idOf(worst), summary: `It holds after ${nameOf(worst)}.` });
  }
  const best = given ?? (await findGood(worst, test));
  if (best === null) {
    const none = "At no moment that could be asked did it hold";
    const untellable = steps.filter(({ outcome }) => outcome === "undecided");
    if (untellable.length === 0) return answer({ summary: `${none}.` });
    const { execution, detail } = untellable[0]!;
    const where = `${untellable.length} cannot be told, as that after ${execution ?? "the beginning"}`;
    return answer({ summary: `${none}; ${where}: ${detail}.` });
  }
  const first = await test(best);
  if (first === "undecided") return untold(best);
  if (first === "bad") return answer({ summary: `It does not hold after ${nameOf(best)} either.` });
  let low = best;
  let high = worst;
  const undecided = new Set<number>();
  while (true) {
    const between = Array.from({ length: high - low - 1 }, (_, index) => low + 1 + index);
    const open = between.filter((moment) => !undecided.has(moment));
    const middle = open[Math.floor((open.length - 1) / 2)];
    if (middle === undefined) break;
    const outcome = await test(middle);
    if (outcome === "good") low = middle;
    else if (outcome === "bad") high = middle;
    else undecided.add(middle);
  }
  const candidates = line.slice(low, high).map(({ id }) => id);
  const since = nameOf(low);
  if (candidates.length === 1) {
    return answer({
      broken_by: candidates[0]!,
      last_good: idOf(low),
      candidates,
      summary: `${candidates[0]} broke it; it held after ${since}.`,
    });
  }
  return answer({
    last_good: idOf(low),
    candidates,
    summary: `One of ${candidates.length} executions after ${since} broke it; the moments between cannot be told: ${known.get(low + 1)?.detail}.`,
  });
}

/** A moment before `worst` at which it held: steps back that grow, then all the others. Null when there is none. */
async function findGood(
  worst: number,
  test: (moment: number) => Promise<BisectStep["outcome"]>,
): Promise<number | null> {
  const tried = new Set<number>();
  const first: number[] = [];
  for (let step = 1; step <= worst; step *= 2) first.push(worst - step);
  const all = Array.from({ length: worst }, (_, index) => worst - 1 - index);
  for (const moment of [...first, ...all]) {
    if (tried.has(moment)) continue;
    tried.add(moment);
    if ((await test(moment)) === "good") return moment;
  }
  return null;
}

function momentOf(line: readonly LineExecution[], id: string): number {
  const at = line.findIndex((one) => one.id === id);
  if (at !== -1) return at + 1;
  throw new ExecuteCodeError("unknown_execution", {
    message: `The execution \`${id.slice(0, 80)}\` is not on the session's line.`,
    remedy: "List the line with `execute-code history --session NAME --tree`.",
  });
}

/** What is asked, a line after the beginning of the cell. */
function cellOf(predicate: string): string {
  return `bool((\n${predicate}\n))`;
}

/** The place in a cell that Python appends to what is wrong with its syntax. */
const IN_CELL = / \([^()]*\bexec_[^()]*\)$/;

/** Where an error of the cell's syntax lies in the predicate. */
function placeOf({ line, column }: Pick<ExecutionError, "line" | "column">, predicate: string): string {
  const own = (line ?? 0) - 1;
  // What is missing is noticed in what stands around the predicate.
  if (own < 1 || own > predicate.split("\n").length) return "at its end";
  const at = column === null ? "" : `column ${column}`;
  return [predicate.includes("\n") || at === "" ? `line ${own}` : "", at].filter(Boolean).join(", ");
}

async function evaluate(
  session: Session,
  execution: string | null,
  predicate: string,
  timeoutMs: number,
  dependsOn: (variable: string) => boolean,
): Promise<BisectStep> {
  try {
    const { lent, inexact } = await session.line.visit(execution, (kernel) =>
      ask(kernel, predicate, timeoutMs),
    );
    const raised = lent.outcome === "bad" && lent.detail !== null;
    // What raises may do so because of anything that is not there.
    const doubtful = inexact.filter(({ name, outcome }) => dependsOn(name) || (raised && outcome === "lost"));
    if (lent.outcome === "undecided" || doubtful.length === 0) return { execution, ...lent };
    const reasons = reasonsOf(doubtful);
    return {
      execution,
      outcome: "undecided",
      detail: lent.detail === null ? reasons : `${lent.detail}; ${reasons}`,
    };
  } catch (error) {
    if (error instanceof ExecuteCodeError && error.code === "invalid_request") throw error;
    const detail = error instanceof Error ? error.message : String(error);
    return { execution, outcome: "undecided", detail };
  }
}

/** An expression that raises does not hold. Throws `invalid_request` for what is no expression. */
async function ask(
  kernel: Kernel,
  predicate: string,
  timeoutMs: number,
): Promise<Pick<BisectStep, "outcome" | "detail">> {
  const timer = setTimeout(() => kernel.kill(), timeoutMs);
  try {
    const cell = { id: newExecutionId(), code: cellOf(predicate), env: {} };
    const outcome = await kernel.execute(cell, NOBODY);
    if (outcome.kind === "gone")
      return { outcome: "undecided", detail: "it took too long, or ended the process" };
    const { error, result } = outcome.frame;
    if (error !== null && NOT_COMPILED.has(error.type) && outcome.frame.ast_hash === null) {
      const said = error.message.replace(IN_CELL, "");
      throw new ExecuteCodeError("invalid_request", {
        message: `The predicate is no Python expression: ${said} (${placeOf(error, predicate)})`,
        remedy: "Give an expression that is true as long as all is well, such as `x < 50`.",
      });
    }
    if (error !== null) return { outcome: "bad", detail: `${error.type}: ${error.message}` };
    return { outcome: result?.text === "True" ? "good" : "bad", detail: null };
  } finally {
    clearTimeout(timer);
  }
}
