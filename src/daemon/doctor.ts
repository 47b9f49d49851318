/** The daemon's own checks: what works here, what does not, and the remedy. */
import { statfs } from "node:fs/promises";
import type { Check } from "../contract/api.ts";
import { ExecuteCodeError } from "../contract/errors.ts";
import type { Services } from "./compose.ts";

const LOW_DISK_BYTES = 512 * 1024 * 1024;

export async function diagnose(services: Services): Promise<Check[]> {
  return Promise.all([python(services), history(services), disk(services), isolation(services)]);
}

async function python({ interpreters, kernels }: Services): Promise<Check> {
  try {
    const { executable, version } = await interpreters.find();
    return ok("python", `CPython ${version} at ${executable}; ${kernels.warm} kernels warm`);
  } catch (error) {
    return failed("python", error);
  }
}

async function history({ store, paths }: Services): Promise<Check> {
  try {
    const { executions, sessions, schema, sqlite } = await store.stats();
    return ok(
      "history",
      `${executions} executions of ${sessions} sessions in ${paths.database} (schema ${schema}, SQLite ${sqlite})`,
    );
  } catch (error) {
    return failed("history", error);
  }
}

async function disk({ paths }: Services): Promise<Check> {
  const { bavail, bsize } = await statfs(paths.home);
  const free = bavail * bsize;
  const detail = `${Math.round(free / 1024 / 1024)} MiB free at ${paths.home}`;
  if (free >= LOW_DISK_BYTES) return ok("disk", detail);
  return {
    name: "disk",
    status: "warning",
    detail,
    remedy: "Free space on this disk: nothing is run that cannot be recorded.",
  };
}

async function isolation({ isolation }: Services): Promise<Check> {
  return {
    name: "isolation",
    status: "warning",
    detail: `tier ${isolation}: session code runs with this user's rights, without a sandbox`,
    remedy:
      "Run only code that you would run yourself, or run the daemon as a user of its own or inside a container.",
  };
}

function ok(name: string, detail: string): Check {
  return { name, status: "ok", detail, remedy: null };
}

function failed(name: string, error: unknown): Check {
  const known =
    error instanceof ExecuteCodeError ? error : new ExecuteCodeError("internal", { cause: error });
  return { name, status: "failed", detail: known.message, remedy: known.remedy };
}
