/** `mcp`: the one place where the command line reaches the MCP face. */
import { type GrantFlags, grantsOf } from "./grants.ts";

export async function mcp(flags: GrantFlags): Promise<number> {
  const { serve } = await import("../mcp/index.ts");
  await serve(grantsOf(flags));
  return 0;
}
