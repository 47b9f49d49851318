/** The description of the HTTP API, made from the route table. */
import { z } from "zod";
import { ROUTES } from "../../contract/api.ts";
import { ErrorBody } from "../../contract/errors.ts";
import { ExecutionEvent } from "../../contract/events.ts";
import { VERSION } from "../../platform/version.ts";

type Json = Record<string, unknown>;

const schema = (type: z.ZodType, io: "input" | "output"): Json =>
  z.toJSONSchema(type, { io, target: "draft-2020-12", unrepresentable: "any" }) as Json;

export function openApi(): Json {
  const paths: Record<string, Json> = {};
  for (const [operationId, route] of Object.entries(ROUTES)) {
    const parameters = [
      ...Object.entries(route.params.shape).map(([name, type]) => parameter(name, type as z.ZodType, "path")),
      ...Object.entries(route.query.shape).map(([name, type]) => parameter(name, type as z.ZodType, "query")),
    ];
    paths[route.path] ??= {};
    paths[route.path]![route.method.toLowerCase()] = {
      operationId,
      summary: route.summary,
      parameters,
      ...(route.body === null
        ? {}
        : {
            requestBody: {
              required: true,
              content: requestContent(route.body),
            },
          }),
      responses: {
        200: { description: "Success", content: answer(route.answer, route.response) },
        default: {
          description: "Any failure",
          content: { "application/json": { schema: schema(ErrorBody, "output") } },
        },
      },
    };
  }
  return {
    openapi: "3.1.0",
    info: { title: "execute-code", version: VERSION },
    paths,
  };
}

function requestContent(body: z.ZodType | "bytes"): Json {
  return body === "bytes"
    ? { "application/octet-stream": { schema: { type: "string", format: "binary" } } }
    : { "application/json": { schema: schema(body, "input") } };
}

function answer(kind: "json" | "events" | "bytes", response: z.ZodType): Json {
  switch (kind) {
    case "json":
      return { "application/json": { schema: schema(response, "output") } };
    case "events":
      return { "application/x-ndjson": { schema: schema(ExecutionEvent, "output") } };
    case "bytes":
      return { "*/*": { schema: { type: "string", format: "binary" } } };
  }
}

function parameter(name: string, type: z.ZodType, where: "path" | "query"): Json {
  const required = where === "path" || !type.safeParse(undefined).success;
  return { name, in: where, required, schema: schema(type, "input") };
}
