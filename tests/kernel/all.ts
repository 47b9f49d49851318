/** Runs the kernel's own tests on each CPython that is here, one after the other. Fails when there is none. */
import { spawnSync } from "node:child_process";
import { globSync, realpathSync } from "node:fs";
import { homedir } from "node:os";
import path from "node:path";

const ROOT = path.resolve(import.meta.dirname, "../..");
const SUPPORTED = ["3.9", "3.10", "3.11", "3.12", "3.13"];
const PROBE = "import sys; print(sys.implementation.name, '%d.%d' % sys.version_info[:2], sys.executable)";

/** One interpreter a version, the default one first. */
function interpreters(): Map<string, string> {
  const folders = (process.env.PATH ?? "").split(path.delimiter);
  const candidates = [
    "python3",
    ...SUPPORTED.flatMap((version) => folders.map((folder) => path.join(folder, `python${version}`))),
    ...globSync(path.join(homedir(), ".pyenv/versions/*/bin/python3")),
    ...globSync(path.join(homedir(), ".local/share/uv/python/*/bin/python3")),
  ];
  const found = new Map<string, string>();
  for (const candidate of candidates) {
    const { status, stdout } = spawnSync(candidate, ["-I", "-c", PROBE], { encoding: "utf8", cwd: "/" });
    if (status !== 0) continue;
    const [name, version, executable] = stdout.trim().split(" ");
    if (name === "cpython" && SUPPORTED.includes(version!) && !found.has(version!)) {
      found.set(version!, realpathSync(executable!));
    }
  }
  return found;
}

const found = interpreters();
if (found.size === 0) {
  console.error(`no CPython ${SUPPORTED[0]} to ${SUPPORTED.at(-1)} is here`);
  process.exit(1);
}
let failed = false;
for (const [version, executable] of found) {
  for (const folder of ["tests/protocol", "tests/kernel"]) {
    console.log(`\n${folder} on CPython ${version}`);
    const { status } = spawnSync(executable, ["-m", "unittest", "discover", "-q", "-s", folder], {
      cwd: ROOT,
      stdio: ["ignore", "inherit", "inherit"],
      env: { ...process.env, PYTHONDONTWRITEBYTECODE: "1" },
    });
    failed ||= status !== 0;
  }
}
process.exitCode = failed ? 1 : 0;
