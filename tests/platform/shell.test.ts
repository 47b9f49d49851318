import { mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { Shell } from "../../src/platform/shell.ts";
import { temporaryFolder } from "../support/home.ts";

let folder: string;
let shell: Shell;
beforeEach(() => {
  folder = temporaryFolder();
  shell = new Shell();
});
afterEach(() => {
  shell.close();
  rmSync(folder, { recursive: true, force: true });
});

/** The processes of this command. */
function processes(command: readonly string[]): string[] {
  const wanted = `${command.join("\0")}\0`;
  return readdirSync("/proc").filter((pid) => {
    try {
      return /^\d+$/.test(pid) && readFileSync(`/proc/${pid}/cmdline`, "utf8") === wanted;
    } catch {
      return false; // It has just ended.
    }
  });
}

describe("what a shell runs", () => {
  test("is answered by its first line and its status, in the order of asking", async () => {
    const answers = await Promise.all([
      shell.run(["printf", "one\\ntwo\\n"], "tell"),
      shell.run(["sh", "-c", "echo said; exit 3"], "tell"),
      shell.run(["true"], "tell"),
    ]);
    expect(answers).toEqual([
      { status: 0, line: "one" },
      { status: 3, line: "said" },
      { status: 0, line: "" },
    ]);
  });

  test("gets its words as they are", async () => {
    const words = [
      "a b",
      "it's",
      "$HOME `id` $(id)",
      "back\\slash",
      "*",
      "한국어",
      "-n",
      "",
      "line\nbreak",
      "; exit 9 #",
    ];
    for (const word of words) {
      const { status, line } = await shell.run(["printf", "<%s>", word], "tell");
      expect({ status, line }).toEqual({ status: 0, line: `<${word}>`.split("\n")[0] });
    }
    const name = path.join(folder, "it's a\nname");
    mkdirSync(name);
    expect((await shell.run(["mkfifo", "--", path.join(name, "f")], "tell")).status).toBe(0);
    expect(statSync(path.join(name, "f")).isFIFO()).toBe(true);
  });

  test("has its errors told or dropped, no input, and no more of the environment than it needs", async () => {
    const failing = ["sh", "-c", "echo wrong >&2; echo right; exit 1"];
    expect(await shell.run(failing, "tell")).toEqual({ status: 1, line: "wrong" });
    expect(await shell.run(failing, "drop")).toEqual({ status: 1, line: "right" });
    expect(await shell.run(["cat"], "tell")).toEqual({ status: 0, line: "" });
    expect((await shell.run(["no-such-program"], "tell")).status).toBe(127);
    expect((await shell.run(["sh", "-c", "echo $HOME"], "tell")).line).toBe("");
  });

  test("is run by another shell after one has ended", async () => {
    const { line: pid } = await shell.run(["sh", "-c", "echo $PPID"], "tell");
    const hanging = shell.run(["sleep", "60"], "tell");
    process.kill(-Number(pid), "SIGKILL");
    await expect(hanging).rejects.toThrow("ended");
    const { line: next } = await shell.run(["sh", "-c", "echo $PPID"], "tell");
    expect(next).not.toBe(pid);
  });

  test("ends with the shell's close, and nothing is run after it", async () => {
    const mark = path.join(folder, "mark");
    writeFileSync(mark, "");
    const command = ["tail", "-f", mark];
    const watching = shell.run(command, "tell");
    await expect.poll(() => processes(command)).toHaveLength(1);
    shell.close();
    await expect(watching).rejects.toThrow("ended");
    await expect.poll(() => processes(command)).toEqual([]);
    await expect(shell.run(["true"], "tell")).rejects.toThrow("closed");
  });
});
