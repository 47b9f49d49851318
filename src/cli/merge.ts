/** `session merge|diff`. */
import type { OnConflict } from "../contract/time-travel.ts";
import { createClient } from "../sdk/index.ts";
import { note, oneLine, writeJson, writeTable } from "./terminal.ts";

interface Flags {
  json?: boolean;
}

export async function merge(
  name: string,
  from: string,
  variables: string[],
  flags: Flags & { onConflict: OnConflict },
): Promise<number> {
  await using client = createClient({ client: "cli" });
  const merged = await client.merge(name, from, variables, { onConflict: flags.onConflict });
  if (flags.json) await writeJson(merged);
  else {
    await writeTable(
      ["VARIABLE", "OUTCOME", "NOTE"],
      merged.variables.map((one) => [one.name, one.outcome, one.reason ?? ""]),
    );
    for (const { name: variable, reason } of merged.conflicts) note(`Conflict: ${variable}: ${reason}`);
    if (merged.classes.length > 0) {
      note(`Classes that differ, of which ${name}'s hold: ${merged.classes.join(", ")}`);
    }
  }
  return merged.variables.some(({ outcome }) => outcome === "failed") ? 1 : 0;
}

const SIGNS = { same: "=", changed: "~", only_here: "+", only_there: "-", unknown: "?" } as const;

export async function diff(name: string, other: string, flags: Flags & { all?: boolean }): Promise<number> {
  await using client = createClient({ client: "cli" });
  const found = await client.diff(name, other);
  if (flags.json) {
    await writeJson(found);
    return 0;
  }
  const shown = found.variables.filter(({ status }) => flags.all || status !== "same");
  if (shown.length === 0) note("Their variables are the same.");
  else {
    await writeTable(
      ["", "VARIABLE", name, other],
      shown.map((one) => [
        SIGNS[one.status],
        one.name,
        one.here === null ? "" : oneLine(`${one.here.type} ${one.here.preview}`, 50),
        one.there === null ? "" : oneLine(`${one.there.type} ${one.there.preview}`, 50),
      ]),
    );
  }
  note(
    found.ancestor === null
      ? "They have no execution in common."
      : `Both are the same up to ${found.ancestor}.`,
  );
  return 0;
}
