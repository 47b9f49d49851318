/** Entry of both workers: the writer owns the database, the reader only searches it. */
import { type MessagePort, parentPort, receiveMessageOnPort, workerData } from "node:worker_threads";
import type { Request, WorkerMessage } from "../../memory/ports/worker-link.ts";
import type { WorkerData } from "./protocol.ts";

if (parentPort === null) throw new Error("worker.ts runs in a worker thread");
const { role, file } = workerData as WorkerData;
const handle = role === "writer" ? await writer(parentPort) : await reader(parentPort);

parentPort.on("message", (requests: readonly Request[]) => {
  let batch = requests;
  for (;;) {
    const more = receiveMessageOnPort(parentPort!) as { message: readonly Request[] } | undefined;
    if (more === undefined) break;
    batch = [...batch, ...more.message];
  }
  handle(batch);
});

type Handler = (requests: readonly Request[]) => void;

function post(port: MessagePort, message: WorkerMessage): void {
  port.postMessage(message);
}

async function writer(port: MessagePort): Promise<Handler> {
  const { Writer } = await import("./writer.ts");
  const instance = new Writer(file, {
    reply: (replies) => post(port, { replies }),
    log: (log, details) => post(port, { log, details }),
    closed: () => port.close(),
  });
  return (requests) => instance.handle(requests);
}

async function reader(port: MessagePort): Promise<Handler> {
  const { Reader } = await import("./reader.ts");
  const instance = new Reader(file, {
    reply: (replies) => post(port, { replies }),
    closed: () => port.close(),
  });
  return (requests) => instance.handle(requests);
}
