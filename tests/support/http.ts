/** Raw requests to a daemon's socket, for what the SDK would never send. */
import { request } from "node:http";
import { daemonSocket } from "../../src/contract/location.ts";

export interface RawAnswer {
  readonly status: number;
  readonly headers: Record<string, string | string[] | undefined>;
  readonly body: string;
  readonly json: { code?: string; remedy?: string; message?: string } & Record<string, unknown>;
}

export function raw(
  home: string,
  method: string,
  path: string,
  body?: string | Buffer,
  headers: Record<string, string> = { "content-type": "application/json" },
): Promise<RawAnswer> {
  return new Promise((resolve, reject) => {
    const sent = request({ socketPath: daemonSocket(home), method, path, headers }, (answer) => {
      let text = "";
      answer.setEncoding("utf8");
      answer.on("data", (chunk: string) => {
        text += chunk;
      });
      answer.once("end", () => {
        const isJson =
          /json/.test(answer.headers["content-type"] ?? "") &&
          !/ndjson/.test(answer.headers["content-type"] ?? "");
        resolve({
          status: answer.statusCode!,
          headers: answer.headers,
          body: text,
          json: isJson ? JSON.parse(text) : {},
        });
      });
    });
    sent.once("error", reject);
    sent.end(body);
  });
}
