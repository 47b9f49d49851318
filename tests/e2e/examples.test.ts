/** The examples and the demo are programs that check themselves: each must end with status 0. */
import { spawn } from "node:child_process";
import { readdirSync } from "node:fs";
import path from "node:path";
import { expect, test } from "vitest";
import { suiteHome } from "../support/suite.ts";

const FOLDER = path.resolve(import.meta.dirname, "../../examples");
const programs = readdirSync(FOLDER).filter((name) => /^\d\d-.*\.ts$/.test(name));

const home = await suiteHome();

function run(program: string): Promise<{ status: number | null; output: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [path.join(FOLDER, program)], {
      env: { ...process.env, EXECUTE_CODE_HOME: home.home, NO_COLOR: "1" },
      stdio: ["ignore", "pipe", "pipe"],
    });
    let output = "";
    child.stdout.on("data", (text: Buffer) => (output += text.toString()));
    child.stderr.on("data", (text: Buffer) => (output += text.toString()));
    child.once("error", reject);
    child.once("close", (status) => resolve({ status, output }));
  });
}

test("there are examples", () => expect(programs.length).toBeGreaterThanOrEqual(5));

test.each(programs)("example %s", async (program) => {
  const { status, output } = await run(program);
  expect(status, output).toBe(0);
});

test("the demo", { timeout: 120_000 }, async () => {
  const { status, output } = await run("demo/main.ts");
  expect(status, output).toBe(0);
  expect(output).toContain("All steps held.");
  expect(output.includes("Isolation: none.")).toBe(output.includes("isolation=none"));
});
