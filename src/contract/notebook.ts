/** What is read of a Jupyter notebook, nbformat 4. */
import { z } from "zod";

/** A text, or a list of its pieces. */
const text = z.union([z.string(), z.array(z.string())]).transform((given) => [given].flat().join(""));

export const NotebookCell = z.looseObject({
  cell_type: z.string(),
  source: text.default(""),
  metadata: z.looseObject({ tags: z.array(z.string()).catch([]).default([]) }).default({ tags: [] }),
});
export type NotebookCell = z.infer<typeof NotebookCell>;

export const Notebook = z.looseObject({
  nbformat: z.int(),
  metadata: z
    .looseObject({
      kernelspec: z.looseObject({ name: z.string().optional(), language: z.string().optional() }).optional(),
      language_info: z.looseObject({ name: z.string() }).optional(),
    })
    .default({}),
  cells: z.array(NotebookCell),
});
export type Notebook = z.infer<typeof Notebook>;
