/** `session files|upload|download`: the files of a session's workspace. */
import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import path from "node:path";
import { createClient, type FileContent } from "../sdk/index.ts";
import { note, usageError, writeJson, writeLine, writeTable } from "./terminal.ts";

interface Flags {
  json?: boolean;
}

export async function files(name: string, folder: string | undefined, flags: Flags): Promise<number> {
  await using client = createClient({ client: "cli" });
  const listing = await client.files(name, folder);
  if (flags.json) await writeJson(listing);
  else if (listing.entries.length === 0) note("There are no files.");
  else {
    await writeTable(
      ["TYPE", "BYTES", "MODIFIED", "PATH"],
      listing.entries.map((entry) => [
        entry.type,
        entry.type === "file" ? String(entry.bytes) : "",
        entry.modified_at,
        entry.path,
      ]),
    );
    if (listing.truncated) note("There are more.");
  }
  return 0;
}

/** Puts a file of this machine into the workspace; `-` is standard input. */
export async function upload(
  name: string,
  file: string,
  place: string | undefined,
  flags: Flags,
): Promise<number> {
  const target = targetOf(file, place);
  const content = await contentOf(file);
  await using client = createClient({ client: "cli" });
  const entry = await client.upload(name, target, content);
  if (flags.json) await writeJson(entry);
  else note(`${entry.path}: ${entry.bytes} bytes`);
  return 0;
}

/** The place in the workspace; a folder gets a file of the same name. */
function targetOf(file: string, place: string | undefined): string {
  if (place !== undefined && !place.endsWith("/")) return place;
  if (file === "-") throw usageError("Standard input has no name: say the PATH of the file.");
  return `${place ?? ""}${path.basename(file)}`;
}

async function contentOf(file: string): Promise<FileContent> {
  if (file === "-") return process.stdin;
  try {
    if ((await stat(file)).isDirectory()) throw usageError(`${file} is a folder.`, "Upload its files.");
    const stream = createReadStream(file);
    await new Promise((resolve, reject) => stream.once("open", resolve).once("error", reject));
    return stream;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOENT") throw usageError(`There is no file ${file}.`);
    if (code === "EACCES") throw usageError(`${file} may not be read.`);
    throw error;
  }
}

/** Brings a file of the workspace to this machine; `-` is standard output. */
export async function download(
  name: string,
  place: string,
  file: string | undefined,
  flags: Flags & { force?: boolean },
): Promise<number> {
  const target = file ?? path.posix.basename(place);
  if (target === "-" && flags.json) throw usageError("The content and --json cannot share standard output.");
  await using client = createClient({ client: "cli" });
  let interrupted = false;
  // What is unfinished is removed.
  const stop = () => {
    interrupted = true;
    void client.close();
  };
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.once(signal, stop);
  try {
    if (target === "-") {
      await client.download(name, place, { to: process.stdout });
      return 0;
    }
    const bytes = await client.download(name, place, { to: target, replace: flags.force });
    if (flags.json) await writeJson({ path: place, file: target, bytes });
    else await writeLine(target);
    return 0;
  } catch (error) {
    if (interrupted) return 3;
    throw error;
  }
}
