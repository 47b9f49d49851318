/** The MCP face's door. */
export { serve } from "./serve.ts";
