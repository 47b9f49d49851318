/**
 * Prepares the machine for the tests of isolation: installs bubblewrap where that is possible. Where there is no
 * isolation all the same, the other tests run without it, and say so; the abuse suite fails.
 */
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { Interpreters, probeIsolation } from "../../src/execution/index.ts";

function has(program: string): boolean {
  try {
    execFileSync("sh", ["-c", `command -v ${program}`], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
}

function install(): void {
  const canInstall = process.getuid?.() === 0 && has("apt-get");
  if (!canInstall) {
    console.warn(
      "bubblewrap is not installed: apt-get install bubblewrap (or your system's way to install it)",
    );
    return;
  }
  try {
    execFileSync("apt-get", ["install", "-y", "-qq", "bubblewrap"], {
      stdio: ["ignore", "ignore", "inherit"],
    });
  } catch {
    console.warn("bubblewrap could not be installed: apt-get update && apt-get install bubblewrap");
  }
}

export async function setup(): Promise<void> {
  if (process.platform === "linux" && !has("bwrap")) install();
  const folder = mkdtempSync(path.join(tmpdir(), "ec-probe-"));
  try {
    const filter = path.join(folder, "seccomp");
    const isolation = await probeIsolation({
      cache: folder,
      filter,
      interpreters: new Interpreters(process.env),
      env: process.env,
    });
    if (isolation.strongest !== null) return;
    for (const { tier, detail } of isolation.probed) console.warn(`isolation ${tier}: ${detail}`);
    console.warn("There is no isolation here: the tests run with EXECUTE_CODE_ISOLATION=none.");
    process.env.EXECUTE_CODE_ISOLATION = "none";
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
