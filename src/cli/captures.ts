/** `session capture|captures|restore`. */
import { type CaptureInfo, createClient, formatBytes, formatDuration } from "../sdk/index.ts";
import { note, writeFacts, writeJson, writeTable } from "./terminal.ts";

interface Flags {
  json?: boolean;
}

export async function capture(name: string, label: string | undefined, flags: Flags): Promise<number> {
  await using client = createClient({ client: "cli" });
  const made = await client.capture(name, label);
  if (flags.json) await writeJson(made);
  else {
    await writeFacts({
      id: made.id,
      name: made.name,
      session: made.session,
      after: made.execution ?? "the beginning",
      size: formatBytes(made.bytes),
      new: formatBytes(made.new_bytes),
      variables: made.variables.length,
      "left out": leftOut(made),
    });
  }
  return 0;
}

export async function captures(name: string, flags: Flags): Promise<number> {
  await using client = createClient({ client: "cli" });
  const list = await client.captures(name);
  if (flags.json) await writeJson({ captures: list });
  else if (list.length === 0) note("The disk has nothing of the session's variables.");
  else {
    await writeTable(
      ["ID", "NAME", "AFTER", "REVISION", "CREATED", "SIZE", "VARIABLES", "LEFT OUT"],
      list.map((one) => [
        one.id,
        one.name ?? "",
        one.execution ?? "the beginning",
        String(one.revision),
        one.created_at,
        formatBytes(one.bytes),
        String(one.variables.length),
        leftOut(one) ?? "",
      ]),
    );
  }
  return 0;
}

function leftOut({ variables }: CaptureInfo): string | null {
  return (
    variables
      .filter(({ status }) => status === "skipped")
      .map(({ name }) => name)
      .join(", ") || null
  );
}

export async function restore(
  name: string,
  from: string | undefined,
  flags: Flags & { effects?: boolean },
): Promise<number> {
  await using client = createClient({ client: "cli" });
  const report = await client.restoreSession(name, from, { effects: flags.effects });
  if (flags.json) await writeJson(report);
  else {
    await writeTable(
      ["VARIABLE", "OUTCOME", "FROM", "NOTE"],
      report.variables.map((one) => [
        one.name,
        one.outcome,
        one.outcome === "restored" ? (report.capture ?? "") : one.executions.join(" "),
        one.reason ?? "",
      ]),
      500,
    );
    note(`Restored in ${formatDuration(report.duration_ms)}; generation ${report.generation}.`);
  }
  return 0;
}
