/** Sessions and executions as resources: what a tool answer leaves out can be read here. */
import { isUtf8 } from "node:buffer";
import type { ReadResourceResult } from "@modelcontextprotocol/server";
import { type McpServer, ResourceNotFoundError, ResourceTemplate } from "@modelcontextprotocol/server";
import { type Client, ExecuteCodeError } from "../sdk/index.ts";
import { clean, headAndTail } from "./text.ts";

/** Characters of text, and bytes of a file, that one resource gives. */
const ROOM = 8 * 1024 * 1024;

export function registerResources(server: McpServer, client: Client): void {
  server.registerResource(
    "session",
    new ResourceTemplate("execute-code://sessions/{name}", {
      list: async () => ({
        resources: (await client.sessions()).map((session) => ({
          uri: `execute-code://sessions/${encodeURIComponent(session.name)}`,
          name: session.name,
          description: `${session.language} session, ${session.state}, revision ${session.revision}`,
          mimeType: "application/json",
        })),
      }),
    }),
    { title: "Session", description: "A session's state.", mimeType: "application/json" },
    async (uri, variables) =>
      found(uri, async () => json(uri, await client.showSession(value(variables.name)))),
  );

  server.registerResource(
    "files",
    new ResourceTemplate("execute-code://sessions/{name}/files", { list: undefined }),
    { title: "Files", description: "What a session's workspace holds.", mimeType: "application/json" },
    async (uri, variables) => found(uri, async () => json(uri, await client.files(value(variables.name)))),
  );

  server.registerResource(
    "file",
    new ResourceTemplate("execute-code://sessions/{name}/files/{+path}", { list: undefined }),
    {
      title: "File",
      description: "A file of a session's workspace; with / at its end, what a folder holds.",
    },
    async (uri, variables) =>
      found(uri, async () => {
        const [session, path] = [value(variables.name), value(variables.path)];
        if (path.endsWith("/")) return json(uri, await client.files(session, path));
        const bytes = await client.download(session, path, { maxBytes: ROOM });
        if (isUtf8(bytes) && !bytes.includes(0)) return text(uri, bytes.toString());
        return blob(uri, bytes, "application/octet-stream");
      }),
  );

  server.registerResource(
    "artifact",
    new ResourceTemplate("execute-code://executions/{id}/artifacts/{number}", { list: undefined }),
    { title: "Artifact", description: "An artifact of an execution, by its number from 1." },
    async (uri, variables) =>
      found(uri, async () => {
        const number = Number(value(variables.number));
        if (!Number.isInteger(number)) throw new ExecuteCodeError("unknown_artifact");
        const { mime, bytes } = await client.artifact(value(variables.id), number);
        if (mime.startsWith("text/")) return text(uri, bytes.toString(), mime);
        return blob(uri, bytes, mime);
      }),
  );

  server.registerResource(
    "execution",
    new ResourceTemplate("execute-code://executions/{id}/{part}", {
      list: undefined,
      complete: { part: (start) => PARTS.filter((part) => part.startsWith(start)) },
    }),
    { title: "Execution", description: `A part of an execution: ${PARTS.join(", ")}.` },
    async (uri, variables) => {
      const id = value(variables.id);
      return await found(uri, async () => {
        switch (value(variables.part)) {
          case "record":
            return json(uri, await client.execution(id));
          case "code":
            return text(uri, (await client.execution(id)).code);
          case "stdout":
            return text(uri, (await client.output(id, "stdout")).toString());
          case "stderr":
            return text(uri, (await client.output(id, "stderr")).toString());
          default:
            throw new ExecuteCodeError("unknown_artifact");
        }
      });
    },
  );
}

const PARTS = ["record", "code", "stdout", "stderr"];

/** A variable of a template, as it was before it became part of an address. */
function value(variable: string | string[] | undefined): string {
  const encoded = typeof variable === "string" ? variable : (variable?.[0] ?? "");
  try {
    return decodeURIComponent(encoded);
  } catch {
    return encoded;
  }
}

async function found(uri: URL, read: () => Promise<ReadResourceResult>): Promise<ReadResourceResult> {
  try {
    return await read();
  } catch (error) {
    if (error instanceof ExecuteCodeError && error.code.startsWith("unknown_")) {
      throw new ResourceNotFoundError(uri.href, `${error.message} ${error.remedy}`);
    }
    throw error;
  }
}

function text(uri: URL, content: string, mimeType = "text/plain"): ReadResourceResult {
  return { contents: [{ uri: uri.href, mimeType, text: headAndTail(clean(content), ROOM).text }] };
}

function blob(uri: URL, bytes: Buffer, mimeType: string): ReadResourceResult {
  return { contents: [{ uri: uri.href, mimeType, blob: bytes.toString("base64") }] };
}

function json(uri: URL, content: unknown): ReadResourceResult {
  return {
    contents: [
      { uri: uri.href, mimeType: "application/json", text: clean(JSON.stringify(content, null, 1)) },
    ],
  };
}
