/** What has changed in a workspace since a moment: memory can go back, files do not. */
import { lstat } from "node:fs/promises";
import type { WorkspaceListing } from "../../contract/api.ts";
import { ExecuteCodeError } from "../../contract/errors.ts";
import { LIMITS } from "../../contract/limits.ts";
import type { FileChange, SessionInfo } from "../../contract/records.ts";
import { listWorkspace, workspaceRoot } from "./workspace.ts";

/** Files are given the time of the system's last tick, which may have been before they were written: HZ is 100 or more. */
const TICK_MS = 10;

/**
 * Files that were written since, and folders in which names came or went, by their times; at most 200, of at most
 * 20,000 entries looked at. A file whose time session code has set back goes unnoticed.
 */
export async function changesSince(
  session: Pick<SessionInfo, "workspace" | "profile">,
  since: string,
): Promise<{ files: FileChange[]; truncated: boolean }> {
  const root = workspaceRoot(session);
  const from = new Date(Date.parse(since) - TICK_MS).toISOString();
  const files: FileChange[] = [];
  const folders = [""];
  let looked = 0;
  if ((await changedAt(session.workspace)) >= from) files.push({ path: "./", change: "names" });
  for (let folder = folders.shift(); folder !== undefined; folder = folders.shift()) {
    const { entries, truncated } = await listWorkspace(root, folder).catch(vanished);
    looked += entries.length;
    for (const { path, type, modified_at } of entries) {
      if (type === "folder") folders.push(path);
      if (modified_at < from) continue;
      if (files.length === LIMITS.changedFiles) return { files, truncated: true };
      if (type === "file") files.push({ path, change: "written" });
      else if (type === "folder") files.push({ path: `${path}/`, change: "names" });
    }
    if (truncated || looked > LIMITS.changesLookedAt) return { files, truncated: true };
  }
  return { files, truncated: false };
}

/** When names came or went in the workspace itself; the beginning of time where that cannot be looked at. */
function changedAt(workspace: string): Promise<string> {
  return lstat(workspace).then(
    ({ mtime }) => mtime.toISOString(),
    () => "",
  );
}

/** What session code moves or bars meanwhile cannot be looked at. */
function vanished(error: unknown): Pick<WorkspaceListing, "entries" | "truncated"> {
  if (error instanceof ExecuteCodeError) return { entries: [], truncated: true };
  throw error;
}
