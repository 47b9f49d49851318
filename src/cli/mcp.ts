/** `mcp`: the one place where the command line reaches the MCP face. */
export async function mcp(): Promise<number> {
  const { serve } = await import("../mcp/index.ts");
  await serve();
  return 0;
}
