/** `inspect`. */
import type { TableLook, VariableDetail, VariableInfo } from "../contract/records.ts";
import { createClient, formatNumber } from "../sdk/index.ts";
import { note, oneLine, writeFacts, writeJson, writeLine, writeTable } from "./terminal.ts";

interface InspectFlags {
  session: string;
  depth: number;
  json?: boolean;
}

export async function inspect(variable: string | undefined, flags: InspectFlags): Promise<number> {
  await using client = createClient({ client: "cli" });
  if (variable === undefined) {
    const answer = await client.variables(flags.session);
    if (flags.json) await writeJson(answer);
    else if (answer.variables.length === 0) note(`The session ${answer.session} has no variables.`);
    else {
      await writeTable(
        ["NAME", "TYPE", "SIZE", "VALUE"],
        answer.variables.map((one) => [one.name, typeOf(one), sizeOf(one), one.preview]),
      );
    }
    return 0;
  }
  const detail = await client.variable(flags.session, variable, flags.depth);
  if (flags.json) await writeJson(detail);
  else await writeDetail(detail);
  return 0;
}

async function writeDetail(detail: VariableDetail): Promise<void> {
  await writeFacts({
    name: detail.name,
    type: typeOf(detail),
    module: detail.module,
    size: sizeOf(detail) || null,
    bytes: detail.bytes,
    signature: detail.signature === null ? null : oneLine(detail.signature, 400),
    value: oneLine(detail.preview, 400),
    doc: detail.doc === null ? null : oneLine(detail.doc, 400),
  });
  if (detail.source !== null) await writeLine(`\n${detail.source.trimEnd()}`);
  if (detail.table !== null) await writeLook(detail.table, detail.shape ?? []);
  if (detail.children.length > 0 || detail.omitted > 0) await writeLine("");
  await writeChildren(detail, "");
}

/** The first rows, and the figures of every column. */
async function writeLook(table: TableLook, shape: readonly number[]): Promise<void> {
  await writeLine("");
  await writeTable(
    ["", ...table.columns.map((column) => column.name)],
    table.head.map((cells, row) => [table.index[row] ?? "", ...cells]),
  );
  if (table.omitted_columns > 0) await writeLine(`… ${table.omitted_columns} more columns`);
  const dtypes = new Map(table.columns.map((column) => [column.name, column.dtype]));
  const described = Object.entries(table.describe);
  const figures = FIGURES.filter((name) => described.some(([, has]) => name in has));
  if (figures.length === 0) return;
  await writeLine("");
  await writeTable(
    ["COLUMN", "DTYPE", ...figures.map((name) => name.toUpperCase())],
    described.map(([name, has]) => [name, dtypes.get(name) ?? "", ...figures.map((key) => figure(has[key]))]),
  );
  const rows = shape.length > 2 ? shape.reduce((product, extent) => product * extent) : (shape[0] ?? 1);
  if (table.described_rows < rows)
    await writeLine(`The figures come from ${table.described_rows} of ${rows} rows.`);
}

const FIGURES = ["count", "missing", "unique", "mean", "std", "min", "25%", "50%", "75%", "max"];

function figure(number: number | null | undefined): string {
  return number === null || number === undefined ? "" : formatNumber(number);
}

async function writeChildren(detail: VariableDetail, indent: string): Promise<void> {
  for (const child of detail.children) {
    await writeLine(`${indent}${oneLine(child.name)}: ${typeOf(child)} = ${oneLine(child.preview)}`);
    await writeChildren(child, `${indent}  `);
  }
  if (detail.omitted > 0) await writeLine(`${indent}… ${detail.omitted} more`);
}

function typeOf(variable: VariableInfo): string {
  return variable.dtype === null ? variable.type : `${variable.type}[${variable.dtype}]`;
}

function sizeOf(variable: VariableInfo): string {
  if (variable.shape !== null) return variable.shape.join("×");
  return variable.length === null ? "" : String(variable.length);
}
