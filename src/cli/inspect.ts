/** `inspect`. */
import type { VariableDetail, VariableInfo } from "../contract/records.ts";
import { createClient } from "../sdk/index.ts";
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
    value: oneLine(detail.preview, 400),
    doc: detail.doc === null ? null : oneLine(detail.doc, 400),
  });
  if (detail.source !== null) await writeLine(`\n${detail.source.trimEnd()}`);
  if (detail.children.length > 0 || detail.omitted > 0) await writeLine("");
  await writeChildren(detail, "");
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
