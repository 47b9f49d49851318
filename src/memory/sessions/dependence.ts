/** Which variables an expression may depend on, as far as its text and the lists of a line's variables tell. */
import type { RestoredVariable } from "../../contract/records.ts";
import type { LineExecution } from "../ports/store.ts";

/** Names by which an expression reaches variables that it does not name. */
const REACHING = new Set(
  "globals locals vars eval exec dir compile __import__ __builtins__ __main__ __dict__ modules".split(" "),
);
/** Types of values that run code of cells, which reads what it likes. Classes are of `type` or of a metaclass. */
const RUNS_CODE = /^(function|method|partial|partialmethod|_lru_cache_wrapper|coroutine|generator)$/;
const CLASS = /^(type|\w*Meta|\w*Type)$/;
const NAME = /[\p{ID_Start}_]\p{ID_Continue}*/gu;
const TOLD = 5;

/** Every word of a text of Python that may be a name, within strings and comments, too. */
export function namesIn(text: string): Set<string> {
  return new Set(text.normalize("NFKC").match(NAME));
}

/** Tells whether an expression may depend on a variable. Every name in its text counts, those within strings too. */
export function dependenceOf(
  expression: string,
  line: readonly LineExecution[],
): (variable: string) => boolean {
  const names = namesIn(expression);
  const summaries = line.flatMap(({ variables }) => [...variables.added, ...variables.changed]);
  const classes = new Set(summaries.filter(({ type }) => CLASS.test(type)).map(({ name }) => name));
  const isOfCode = (type: string): boolean => RUNS_CODE.test(type) || CLASS.test(type) || classes.has(type);
  const onEverything =
    // The lists have no names with a leading underscore: these may be functions.
    [...names].some((name) => REACHING.has(name) || name.startsWith("_")) ||
    summaries.some(({ name, type }) => names.has(name) && isOfCode(type));
  return (variable) => onEverything || names.has(variable);
}

/** Variables with what is said of them. */
export function reasonsOf(variables: readonly RestoredVariable[]): string {
  const told = variables.slice(0, TOLD).map(({ name, outcome, reason }) => {
    const lost = outcome === "lost" ? "lost there" : null;
    return `\`${name}\`: ${[lost, reason].filter((part) => part !== null).join(", ")}`;
  });
  const more = variables.length - told.length;
  return [...told, ...(more > 0 ? [`and ${more} more`] : [])].join("; ");
}
