/** `history export`: a session's history in a form for others. */
import path from "node:path";
import { createClient, type ExportFormat } from "../sdk/index.ts";
import { usageError, writeJson, writeLine } from "./terminal.ts";

interface Flags {
  session: string;
  format?: ExportFormat;
  all?: boolean;
  images: boolean;
  output: string;
  force?: boolean;
  json?: boolean;
}

const BY_EXTENSION: Readonly<Record<string, ExportFormat>> = {
  ".ipynb": "ipynb",
  ".md": "md",
  ".markdown": "md",
  ".jsonl": "jsonl",
  ".ndjson": "jsonl",
  ".py": "py",
};

export async function exportHistory(flags: Flags): Promise<number> {
  const { session, all, output } = flags;
  const toScreen = output === "-";
  const format = flags.format ?? BY_EXTENSION[path.extname(output).toLowerCase()];
  if (format === undefined) {
    throw usageError(
      toScreen ? "There is no format." : `The name ${output} tells no format.`,
      "Say --format ipynb, md, jsonl or py, or write to a file of that extension with --output.",
    );
  }
  if (toScreen && flags.json) throw usageError("The export and --json cannot share standard output.");
  await using client = createClient({ client: "cli" });
  let interrupted = false;
  // What is unfinished is removed.
  const stop = () => {
    interrupted = true;
    void client.close();
  };
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.once(signal, stop);
  const options = { format, all, images: flags.images ? ("inline" as const) : ("omit" as const) };
  try {
    if (toScreen) {
      await client.exportHistory(session, { ...options, to: process.stdout });
      return 0;
    }
    const bytes = await client.exportHistory(session, { ...options, to: output, replace: flags.force });
    if (flags.json) await writeJson({ session, format, file: output, bytes });
    else await writeLine(output);
    return 0;
  } catch (error) {
    if (interrupted) return 3;
    throw error;
  }
}
