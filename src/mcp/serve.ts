/**
 * The MCP server on standard input and output, in both protocol eras.
 *
 * It holds no state of its own: sessions belong to the daemon, which is reached (and started, where none runs) in the
 * background right after the start, and again whenever a call finds it gone. The server ends when its input ends;
 * executions under way run on, unless their call asked for `on_timeout: interrupt`.
 */
import { readFileSync } from "node:fs";
import { McpServer } from "@modelcontextprotocol/server";
import { StdioServerTransport, serveStdio } from "@modelcontextprotocol/server/stdio";
import { LIMITS } from "../contract/limits.ts";
import { type Client, createClient, type Grants } from "../sdk/index.ts";
import { GrantedSessions } from "./grants.ts";
import { registerResources } from "./resources.ts";
import { registerTools } from "./tools.ts";

const INSTRUCTIONS =
  "Code runs in named sessions that keep their variables between calls, so build on what earlier calls defined. " +
  "A call that outlasts its timeout runs on and is followed with `execution`. " +
  "`history` finds what was run before; `inspect` shows variables without running code.";

/** Resolves when the input has ended. `grants`: what its user grants the sessions that it makes. */
export async function serve(grants: Grants): Promise<void> {
  const { version } = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8")) as {
    version: string;
  };
  const client = createClient({ client: "mcp" });
  const sessions = new GrantedSessions(client, grants);
  const ended = new Promise<void>((resolve) => {
    process.stdin.once("end", resolve);
    process.stdin.once("close", resolve);
  });
  const handle = serveStdio(() => server(client, sessions, version), {
    transport: new StdioServerTransport(process.stdin, process.stdout, {
      maxBufferSize: LIMITS.requestBytes,
    }),
    onerror: (error) => process.stderr.write(`execute-code mcp: ${error.message}\n`),
  });
  // A failure is told by the call that needs the daemon.
  setImmediate(() => void client.reach().catch(() => {}));
  await ended;
  await handle.close();
  await client.close();
}

function server(client: Client, sessions: GrantedSessions, version: string): McpServer {
  const mcp = new McpServer(
    { name: "execute-code", title: "execute-code", version },
    {
      instructions: INSTRUCTIONS,
      capabilities: { tools: { listChanged: false }, resources: { listChanged: false } },
    },
  );
  registerTools(mcp, client, sessions);
  registerResources(mcp, client);
  return mcp;
}
