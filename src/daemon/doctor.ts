/** The daemon's own checks: what works here, what does not, and the remedy. */
import { statfs } from "node:fs/promises";
import type { Check } from "../contract/api.ts";
import { ExecuteCodeError } from "../contract/errors.ts";
import { LAST_RESORT, remediesOf } from "../execution/index.ts";
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

/** The strongest tier, and why it is not a stronger one. */
async function isolation({ isolation: { strongest, probed } }: Services): Promise<Check> {
  const found = probed.find((one) => one.tier === strongest);
  const missing = probed.filter((one) => one.enclosure === null);
  const reasons = missing.map((one) => `; no ${one.tier}: ${one.detail}`).join("");
  const remedy = remediesOf(missing);
  if (found === undefined) {
    return {
      name: "isolation",
      status: "failed",
      detail: `none${reasons}`,
      remedy: `${remedy} ${LAST_RESORT}`,
    };
  }
  const detail = `tier ${found.tier}: ${found.detail}${reasons}`;
  if (missing.length === 0) return ok("isolation", detail);
  return { name: "isolation", status: "warning", detail, remedy };
}

function ok(name: string, detail: string): Check {
  return { name, status: "ok", detail, remedy: null };
}

function failed(name: string, error: unknown): Check {
  const known =
    error instanceof ExecuteCodeError ? error : new ExecuteCodeError("internal", { cause: error });
  return { name, status: "failed", detail: known.message, remedy: known.remedy };
}
