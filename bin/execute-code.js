#!/usr/bin/env node
// Finds a Node.js that is new enough and hands over to the command line: from source in a checkout, from dist in an
// installed package. Plain JavaScript, so that an old Node.js can read it and say what is missing.
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { constants, homedir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const NEEDED = 24;
const at = (relative) => fileURLToPath(new URL(relative, import.meta.url));

if (Number(process.versions.node.split(".")[0]) >= NEEDED) {
  const { enableCompileCache } = await import("node:module");
  const cache = process.env.XDG_CACHE_HOME ?? join(homedir(), ".cache");
  enableCompileCache(join(cache, "execute-code", "node"));
  const source = at("../src/cli/main.ts");
  await import(existsSync(source) ? source : at("../dist/cli/main.js"));
} else {
  const own = at("../node_modules/node/bin/node");
  if (!existsSync(own)) {
    console.error(
      `execute-code needs Node.js ${NEEDED} or newer; this is ${process.version}.\n` +
        "Install a newer one, or run `npm ci` in the checkout, which brings one along.",
    );
    process.exit(4);
  }
  const child = spawn(own, process.argv.slice(1), { stdio: "inherit" });
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => child.kill(signal));
  child.on("exit", (code, signal) => process.exit(code ?? 128 + (constants.signals[signal] ?? 0)));
}
