/** What nbformat 4.5's own JSON schema asks of notebooks with code cells, in the terms of this project's schemas. */
import { z } from "zod";

const text = z.union([z.string(), z.array(z.string())]);
const lines = z.array(z.string());

/** Types of JSON hold any value, all others texts. */
const bundle = z
  .record(z.string(), z.json())
  .refine((data) =>
    Object.entries(data).every(
      ([type, value]) => /^application\/(.*\+)?json$/.test(type) || text.safeParse(value).success,
    ),
  )
  .transform((data) => data as Record<string, string[] | undefined>);

const Output = z.discriminatedUnion("output_type", [
  z.strictObject({ output_type: z.literal("stream"), name: z.string(), text: lines }),
  z.strictObject({ output_type: z.literal("display_data"), data: bundle, metadata: z.looseObject({}) }),
  z.strictObject({
    output_type: z.literal("execute_result"),
    execution_count: z.int().min(0).nullable(),
    data: bundle,
    metadata: z.looseObject({}),
  }),
  z.strictObject({
    output_type: z.literal("error"),
    ename: z.string(),
    evalue: z.string(),
    traceback: lines,
  }),
]);

const Notebook = z.strictObject({
  nbformat: z.literal(4),
  nbformat_minor: z.literal(5),
  metadata: z.looseObject({
    kernelspec: z.looseObject({ name: z.string(), display_name: z.string() }),
    language_info: z.looseObject({ name: z.string() }),
  }),
  cells: z.array(
    z.strictObject({
      cell_type: z.literal("code"),
      id: z.string().regex(/^[a-zA-Z0-9-_]{1,64}$/),
      execution_count: z.int().min(0).nullable(),
      metadata: z.looseObject({
        execution: z.record(z.string(), z.string()),
        tags: z.array(z.string().regex(/^[^,]+$/)).optional(),
        execute_code: z.looseObject({ abandoned: z.boolean().optional() }).optional(),
      }),
      source: lines,
      outputs: z.array(Output),
    }),
  ),
});

/** Any output; fields that its type lacks are absent. */
export interface Output {
  readonly output_type: string;
  readonly name?: string;
  readonly text?: string[];
  readonly data: Record<string, string[] | undefined>;
}

export function checkNotebook(json: string) {
  const notebook = Notebook.parse(JSON.parse(json));
  const ids = notebook.cells.map(({ id }) => id);
  if (new Set(ids).size < ids.length) throw new Error("two cells have one id");
  const cells = notebook.cells.map((cell) => ({ ...cell, outputs: cell.outputs as unknown as Output[] }));
  return { ...notebook, cells };
}
