/** History by value: which changes of variables in a record fit a query. */
import type { HistoryQuery, VariableChange } from "../../contract/api.ts";
import type { VariableChanges } from "../../contract/records.ts";
import { holds, parseCondition } from "../../memory/ports/values.ts";

/** The JSON of a record's `variables` to the changes that fit. Throws NotUnderstood. */
export type Fitting = (variables: string) => VariableChange[];

/** Null when the query does not ask for variables. */
export function fitting({ variable, where }: HistoryQuery): Fitting | null {
  if (variable === undefined && where === undefined) return null;
  const condition = where === undefined ? null : parseCondition(where);
  return (json) =>
    changesOf(JSON.parse(json) as VariableChanges).filter(
      (change) =>
        (variable === undefined || change.name === variable) &&
        (condition === null || holds(condition, change)),
    );
}

function changesOf({ added, changed, deleted }: VariableChanges): VariableChange[] {
  return [
    ...added.map((one) => ({ change: "added" as const, ...one })),
    ...changed.map((one) => ({ change: "changed" as const, ...one })),
    ...deleted.map((name) => ({ change: "deleted" as const, name, type: null, preview: null })),
  ];
}
