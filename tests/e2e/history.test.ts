/** The history of real sessions: exported, by value, and with the parents of executions. */
import { spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import type { ExecutionRecord } from "../../src/contract/records.ts";
import { raw } from "../support/http.ts";
import { checkNotebook } from "../support/notebook.ts";
import { suiteHome } from "../support/suite.ts";

const home = await suiteHome();
const { client } = home;

const PNG =
  "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";

/** A session with output of every kind, and an execution that was undone. */
async function filled(session: string): Promise<{ kept: string[]; undone: string }> {
  const run = async (code: string): Promise<string> => (await client.execute({ session, code })).id;
  const kept = [
    await run("import sys\nprint('out')\nprint('err', file=sys.stderr)\nx = [1]\nx"),
    await run(
      `import base64\nfrom IPython.display import Image, display\ndisplay(Image(data=base64.b64decode("${PNG}")))`,
    ),
    await run("y = 1\n1 / 0"),
  ];
  const undone = await run("x.append(2)");
  await client.rollback(session, kept[2]);
  kept.push(await run("z = y"));
  return { kept, undone };
}

describe("an export", () => {
  let ids: { kept: string[]; undone: string };
  beforeAll(async () => {
    ids = await filled("main");
  });

  test("over HTTP has the media type of its format, and comes as it is made", async () => {
    for (const [format, type] of [
      ["ipynb", "application/x-ipynb+json"],
      ["md", "text/markdown; charset=utf-8"],
      ["jsonl", "application/x-ndjson"],
      ["py", "text/x-python; charset=utf-8"],
    ]) {
      const answer = await raw(home.home, "GET", `/v1/sessions/main/export?format=${format}`);
      expect(answer.status).toBe(200);
      expect(answer.headers).toMatchObject({
        "content-type": type,
        "transfer-encoding": "chunked",
        "content-disposition": "attachment",
      });
      expect(answer.body).toContain(ids.kept[3]);
      expect(answer.body).not.toContain(ids.undone);
    }
    const all = await raw(home.home, "GET", "/v1/sessions/main/export?format=jsonl&line=all");
    expect(all.body).toContain(ids.undone);
    expect(await raw(home.home, "GET", "/v1/sessions/absent/export")).toMatchObject({
      status: 404,
      json: { code: "unknown_session" },
    });
    expect(await raw(home.home, "GET", "/v1/sessions/main/export?format=doc")).toMatchObject({
      status: 400,
      json: { code: "invalid_request", message: expect.stringContaining("format") },
    });
  });

  test("is a notebook with outputs", async () => {
    const { cells } = checkNotebook((await client.exportHistory("main")).toString());
    expect(cells.map(({ id }) => id)).toEqual(ids.kept);
    expect(cells[0]?.outputs).toEqual(
      expect.arrayContaining([
        { output_type: "stream", name: "stdout", text: ["out\n"] },
        { output_type: "stream", name: "stderr", text: ["err\n"] },
        expect.objectContaining({ output_type: "execute_result", data: { "text/plain": ["[1]"] } }),
      ]),
    );
    expect(cells[1]?.outputs).toEqual([
      expect.objectContaining({ data: expect.objectContaining({ "image/png": PNG }) }),
    ]);
    expect(cells[2]?.outputs).toEqual([
      expect.objectContaining({ output_type: "error", ename: "ZeroDivisionError" }),
    ]);
  });

  test("is valid to Jupyter's own library", async ({ skip }) => {
    const file = path.join(home.home, "valid.ipynb");
    writeFileSync(file, await client.exportHistory("main", { all: true }));
    const program = "import sys, nbformat; nbformat.validate(nbformat.read(sys.argv[1], 4))";
    const { status, stderr } = spawnSync("python3", ["-c", program, file], { encoding: "utf8" });
    if (stderr.includes("No module named 'nbformat'")) skip("nbformat is not installed");
    expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
  });

  test("goes to a file, whole or not at all", async () => {
    const file = path.join(home.home, "export.jsonl");
    const session = await client.session("main");
    const bytes = await session.exportHistory({ format: "jsonl", to: file });
    const lines = readFileSync(file, "utf8").trimEnd().split("\n");
    expect(Buffer.byteLength(`${lines.join("\n")}\n`)).toBe(bytes);
    const records = await Promise.all(ids.kept.map((id) => client.execution(id)));
    expect(lines.map((line) => JSON.parse(line) as ExecutionRecord)).toEqual(records);
    await expect(session.exportHistory({ format: "md", to: file })).rejects.toMatchObject({
      code: "invalid_request",
    });
    await expect(client.exportHistory("absent")).rejects.toMatchObject({ code: "unknown_session" });
  });

  test("of a closed session is had by its id and its name", async () => {
    const { id } = await client.createSession({ name: "ended" });
    const run = await client.execute({ session: "ended", code: "1 + 1" });
    await client.closeSession("ended");
    for (const ref of [id, "ended"]) {
      expect((await client.exportHistory(ref, { format: "py" })).toString()).toContain(
        `# %% ${run.id} ok\n1 + 1\n`,
      );
    }
  });
});

describe("by value", () => {
  test("finds when a variable became what is asked", async () => {
    const session = "values";
    const run = async (code: string): Promise<string> => (await client.execute({ session, code })).id;
    const small = await run("rows = [1, 2]\nname = 'Ada'");
    const large = await run("rows = list(range(30))");
    const gone = await run("del rows");
    const found = async (query: { variable?: string; where?: string }): Promise<string[]> =>
      (await client.history({ session, ...query })).executions.map(({ id }) => id);
    expect(await found({ variable: "rows" })).toEqual([gone, large, small]);
    expect(await found({ variable: "rows", where: "length > 10" })).toEqual([large]);
    expect(await found({ where: "value ~ ada and type = str" })).toEqual([small]);
    expect(await found({ variable: "rows", where: "change = deleted" })).toEqual([gone]);
    const page = await client.history({ session });
    expect(page.executions.map(({ parent }) => parent)).toEqual([large, small, null]);
    expect(page.executions[0]).not.toHaveProperty("variables");
  });

  test("says where a condition is not understood", async () => {
    await expect(client.history({ where: "rows > 1 and size = 2" })).rejects.toMatchObject({
      code: "invalid_request",
      message: expect.stringContaining("at character 14: `size` stands where one of `type`"),
      remedy: expect.stringContaining("rows > 1000"),
      details: { position: 13 },
    });
  });
});
