/** Runs the kernel's own tests on each CPython that is here. Fails when there is none. */
import { spawn, spawnSync } from "node:child_process";
import { globSync, realpathSync, statSync } from "node:fs";
import { homedir } from "node:os";
import path from "node:path";
import { parseArgs } from "node:util";

const ROOT = path.resolve(import.meta.dirname, "../..");
const SUPPORTED = ["3.9", "3.10", "3.11", "3.12", "3.13"];
const PROBE = "import sys; print(sys.implementation.name, '%d.%d' % sys.version_info[:2], sys.executable)";
const FOLDERS = ["tests/protocol", "tests/kernel"];
/** A run that hangs is ended, and has failed. */
const LONGEST_MS = 10 * 60_000;

const { values } = parseArgs({
  options: {
    /** How many at a time. */
    jobs: { type: "string", default: "1" },
    /** In so many parts, which can run at the same time. */
    parts: { type: "string", default: "1" },
    /** How often in a row. */
    repeat: { type: "string", default: "1" },
    /** Only the default interpreter. */
    quick: { type: "boolean", default: false },
    /** Only this version. */
    only: { type: "string" },
    /** Only this folder's. */
    folder: { type: "string" },
  },
});

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

/** Test modules of one folder, which one process runs. */
interface Part {
  readonly folder: string;
  readonly modules: readonly string[];
}

/** All modules, the largest first, dealt out to so many parts; a folder with few of them is one part. */
function partsOf(folder: string, wanted: number): Part[] {
  const files = globSync(path.join(ROOT, folder, "test_*.py"));
  const count = files.length < 2 * wanted ? 1 : wanted;
  const modules = files
    .toSorted((one, other) => statSync(other).size - statSync(one).size)
    .map((file) => path.basename(file, ".py"));
  return Array.from({ length: count }, (_, part) => ({
    folder,
    modules: modules.filter((_module, index) => index % count === part),
  }));
}

/** Whether the tests of a part pass; their output appears when they are over. */
function passes(version: string, executable: string, { folder, modules }: Part): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const child = spawn(executable, ["-m", "unittest", "-q", ...modules], {
    cwd: path.join(ROOT, folder),
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, PYTHONDONTWRITEBYTECODE: "1" },
    timeout: LONGEST_MS,
  });
  let said = "";
  for (const stream of [child.stdout, child.stderr])
    stream.on("data", (text: Buffer) => (said += String(text)));
  child.on("close", (status, signal) => {
    console.log(
      `\n${folder} on CPython ${version}${signal === null ? "" : `: ended by ${signal}`}\n${said.trim()}`,
    );
    resolve(status === 0);
  });
  return promise;
}

let found = [...interpreters()].filter(([version]) => values.only === undefined || version === values.only);
if (found.length === 0) {
  console.error(`no CPython ${values.only ?? `${SUPPORTED[0]} to ${SUPPORTED.at(-1)}`} is here`);
  process.exit(1);
}
if (values.quick) found = found.slice(0, 1);
const folders = values.folder === undefined ? FOLDERS : [values.folder];
const parts = folders.flatMap((folder) => partsOf(folder, Number(values.parts)));
const work = Array.from({ length: Number(values.repeat) }, () =>
  found.flatMap((interpreter) => parts.map((part) => [...interpreter, part] as const)),
).flat();
let failed = 0;
await Promise.all(
  Array.from({ length: Number(values.jobs) }, async () => {
    for (let next = work.shift(); next !== undefined; next = work.shift()) {
      if (!(await passes(...next))) failed += 1;
    }
  }),
);
if (failed > 0) console.error(`\n${failed} runs failed`);
process.exitCode = failed > 0 ? 1 : 0;
