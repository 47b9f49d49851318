/** Who may import whom. Type-only imports count; from outside a layer only its door, index.ts, may be imported. */
import { globSync, readFileSync } from "node:fs";
import path from "node:path";
import { parseSync } from "oxc-parser";
import { describe, expect, test } from "vitest";

const ROOT = path.resolve(import.meta.dirname, "..");
const SRC = path.join(ROOT, "src");

/** Folder → what it may import: other folders of src, and packages. Node's own modules are free to all. */
const TABLE: Readonly<Record<string, { folders: readonly string[]; packages: readonly string[] }>> = {
  contract: { folders: [], packages: ["zod"] },
  platform: { folders: ["contract"], packages: ["zod", "pino", "typeid-js"] },
  execution: { folders: ["contract", "platform"], packages: ["zod"] },
  memory: { folders: ["contract", "platform", "execution"], packages: ["zod"] },
  collaboration: { folders: ["contract", "platform"], packages: ["zod"] },
  adapters: { folders: ["contract", "memory"], packages: ["kysely"] },
  sdk: { folders: ["contract"], packages: [] },
  mcp: { folders: ["contract", "sdk"], packages: ["zod", "@modelcontextprotocol/server"] },
  cli: { folders: ["contract", "sdk"], packages: ["commander"] },
  daemon: {
    folders: ["contract", "platform", "execution", "memory", "collaboration", "adapters", "sdk"],
    packages: ["zod", "pino", "hono", "@hono/node-server"],
  },
};

/** Layers are entered by their door. The contract is a folder of schemas, and ports are files of their own. */
const DOORS = new Set(["execution", "memory", "collaboration", "sdk"]);

/** Programs that the command line hands over to: docs/decisions/0003-hand-over.md. */
const HAND_OVERS = new Set(["cli/mcp.ts → mcp/index.ts", "cli/daemon-run.ts → the daemon's program"]);
/** The one import whose target is computed. */
const COMPUTED = new Map([["pathToFileURL(daemonProgram()).href", "the daemon's program"]]);

interface Import {
  readonly from: string;
  readonly specifier: string;
}

const files = globSync("**/*.ts", { cwd: SRC }).sort();

function importsOf(file: string): Import[] {
  const source = readFileSync(path.join(SRC, file), "utf8");
  const { module } = parseSync(file, source);
  const text = (start: number, end: number): string => source.slice(start, end).replace(/^["'`]|["'`]$/g, "");
  const specifiers = [
    ...module.staticImports.map((one) => one.moduleRequest.value),
    ...module.staticExports.flatMap((one) =>
      one.entries.flatMap((entry) => (entry.moduleRequest === null ? [] : [entry.moduleRequest.value])),
    ),
    ...module.dynamicImports.map((one) => text(one.moduleRequest.start, one.moduleRequest.end)),
  ];
  return [...new Set(specifiers)].map((specifier) => ({ from: file, specifier }));
}

const imports = files.flatMap(importsOf);
const folderOf = (file: string): string => file.split("/")[0]!;
const targetOf = ({ from, specifier }: Import): string => path.join(path.dirname(from), specifier);
const packageOf = (specifier: string): string =>
  specifier
    .split("/")
    .slice(0, specifier.startsWith("@") ? 2 : 1)
    .join("/");

/** Why the table does not allow an import; null when it does. */
function violation(one: Import): string | null {
  const row = TABLE[folderOf(one.from)];
  if (row === undefined) return `${one.from}: its folder is not in the table`;
  if (one.specifier.startsWith("node:")) return null;
  const computed = COMPUTED.get(one.specifier);
  if (computed !== undefined) {
    return HAND_OVERS.has(`${one.from} → ${computed}`) ? null : `${one.from} → ${computed}`;
  }
  if (!one.specifier.startsWith(".")) {
    return row.packages.includes(packageOf(one.specifier)) ? null : `${one.from} → package ${one.specifier}`;
  }
  const target = targetOf(one);
  const [from, to] = [folderOf(one.from), folderOf(target)];
  if (from === to) {
    return path.basename(target) === "index.ts" && target.split("/").length === 2
      ? `${one.from} imports its own door`
      : null;
  }
  const edge = `${one.from} → ${target}`;
  if (HAND_OVERS.has(edge)) return null;
  if (!row.folders.includes(to)) return edge;
  const isPort = from === "adapters" && target.startsWith("memory/ports/");
  if (DOORS.has(to) && target !== `${to}/index.ts` && !isPort) return `${edge} (not through the door)`;
  return null;
}

describe("the import table", () => {
  test("covers every folder of src", () => {
    expect(new Set(files.map(folderOf))).toEqual(new Set(Object.keys(TABLE)));
  });

  test("holds for every import", () => {
    expect(imports.length).toBeGreaterThan(100);
    expect(imports.map(violation).filter((one) => one !== null)).toEqual([]);
  });

  test.each([
    ["memory/a.ts", "../daemon/compose.ts"],
    ["sdk/a.ts", "../platform/paths.ts"],
    ["contract/a.ts", "hono"],
    ["memory/sessions/a.ts", "../../execution/kernel/box.ts"],
    ["memory/a.ts", "./index.ts"],
    ["adapters/sqlite/a.ts", "../../memory/sessions/session.ts"],
    ["unheard/a.ts", "../contract/errors.ts"],
  ])("would refuse %s importing %s", (from, specifier) => {
    expect(violation({ from, specifier })).not.toBeNull();
  });

  test("has no cycles", () => {
    const edges = new Map(files.map((file) => [file, [] as string[]]));
    for (const one of imports) if (one.specifier.startsWith(".")) edges.get(one.from)!.push(targetOf(one));
    const state = new Map<string, "open" | "done">();
    const cycles: string[] = [];
    const visit = (file: string, trail: string[]): void => {
      if (state.get(file) === "done") return;
      if (state.get(file) === "open") {
        cycles.push([...trail.slice(trail.indexOf(file)), file].join(" → "));
        return;
      }
      state.set(file, "open");
      for (const next of edges.get(file) ?? []) visit(next, [...trail, file]);
      state.set(file, "done");
    };
    for (const file of files) visit(file, []);
    expect(cycles).toEqual([]);
  });

  test("keeps the SDK's door to what it names", () => {
    const { module } = parseSync("index.ts", readFileSync(path.join(SRC, "sdk/index.ts"), "utf8"));
    const names = module.staticExports.flatMap((one) => one.entries.map((entry) => entry.exportName.name));
    expect(names).toContain("connect");
    expect(names.every((name) => name !== null)).toBe(true);
  });
});
