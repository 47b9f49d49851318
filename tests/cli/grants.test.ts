/** What a session is granted, as it is said on the command line and to the MCP server. */
import { mkdirSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { parseBytes } from "../../src/sdk/index.ts";
import { type TestHome, temporaryFolder, testHome } from "../support/home.ts";
import { execute } from "./program.ts";

let at: TestHome;
let granted: string;
beforeAll(async () => {
  at = await testHome();
  granted = realpathSync(temporaryFolder());
  mkdirSync(path.join(granted, "data"), { mode: 0o755 });
  writeFileSync(path.join(granted, "data", "a.txt"), "granted");
});
afterAll(async () => {
  await at[Symbol.asyncDispose]();
  rmSync(granted, { recursive: true, force: true });
});

const call = (...args: string[]) => execute(at.home, args);
const json = (text: string) => JSON.parse(text) as Record<string, unknown>;

test("a session is created with what is named, and shows it", async () => {
  const grants = [
    ["--memory", "300MiB", "--cpus", "1", "--processes", "100", "--disk", "1GiB"],
    ["--output", "1MiB", "--wall", "1m", "--no-install"],
  ].flat();
  const created = await call("session", "create", "all", ...grants, "--json");
  expect(json(created.stdout)).toMatchObject({
    profile: {
      memory_bytes: 300 * 1024 ** 2,
      cpus: 1,
      processes: 100,
      disk_bytes: 1024 ** 3,
      output_bytes: 1024 ** 2,
      wall_ms: 60_000,
      install: false,
    },
  });
  const shown = (await call("session", "show", "all")).stdout;
  for (const fact of [/^memory +300 MiB$/m, /^wall time +1 m 0 s$/m, /^installs +no$/m]) {
    expect(shown).toMatch(fact);
  }
});

test("paths are relative to where the command runs", async () => {
  const file = path.join(granted, "data", "a.txt");
  const relative = path.relative(process.cwd(), file);
  const ran = await call(
    "run",
    "-s",
    "reads",
    "--read",
    relative,
    "-c",
    `open(${JSON.stringify(file)}).read()`,
  );
  expect(ran).toMatchObject({ status: 0, stdout: "'granted'\n" });
});

test("what is there already is not granted more", async () => {
  await call("run", "-s", "small", "--memory", "256MiB", "-c", "1");
  expect((await call("run", "-s", "small", "--memory", "256MiB", "-c", "1")).status).toBe(0);
  const refused = await call("run", "-s", "small", "--memory", "1GiB", "-c", "1");
  expect(refused.status).toBe(2);
  expect(refused.stderr).toContain("(session_profile)");
});

test.each([
  ["--memory", "lots"],
  ["--memory", "1MiB"],
  ["--cpus", "0"],
  ["--processes", "-1"],
  ["--wall", "soon"],
  ["--read", "/no/such/file"],
  ["--write", "/"],
  ["--allow-net", "example.com"],
  ["--allow-net", "*.example.com:443"],
])("%s %s is refused", async (option, value) => {
  const refused = await call("session", "create", option, value);
  expect(refused.status).toBe(2);
  expect(refused.stderr).not.toBe("");
});

test.each([
  ["512", 512],
  ["1k", 1_024],
  ["512MiB", 512 * 1024 ** 2],
  ["1.5G", 1.5 * 1024 ** 3],
  ["100 MB", 100_000_000],
  ["2tb", 2_000_000_000_000],
  ["", null],
  ["-1", null],
  ["1x", null],
  ["99999999T", null],
])("the size %s", (text, bytes) => {
  expect(parseBytes(text)).toBe(bytes);
});
