/** A package index of the test's own on loopback: the simple pages of PEP 503, wheels, and sources that build themselves. */
import { execFileSync } from "node:child_process";
import { readFileSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import path from "node:path";
import { temporaryFolder } from "./home.ts";

export interface FakePackage {
  readonly name: string;
  readonly version: string;
  /** Other packages, as PEP 508 names them. */
  readonly requires?: readonly string[];
  /** Text of its one module. Default: its version as VERSION. */
  readonly module?: string;
  /** Python that is run when it is built: then it is offered as source alone. */
  readonly build?: string;
}

export interface FakeIndex extends AsyncDisposable {
  readonly port: number;
  /** What a daemon's environment needs for it. */
  readonly env: NodeJS.ProcessEnv;
  /** Paths that were asked for. */
  readonly asked: string[];
  /** Requests for these packages are not answered until they are let go. */
  hold(name: string): { readonly reached: Promise<void>; letGo(): void };
}

/** Writes the files; standard library only. */
const BUILDER = `
import io, json, sys, tarfile, zipfile
WHEEL = "Wheel-Version: 1.0\\nGenerator: test\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n"
BACKEND = '''
import zipfile
def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    exec(open("attack.py").read(), {"__name__": "attack"})
    import json
    files, name = json.load(open("files.json"))
    with zipfile.ZipFile(wheel_directory + "/" + name, "w") as wheel:
        for path, text in files.items(): wheel.writestr(path, text)
    return name
'''
packages, folder = json.load(sys.stdin), sys.argv[1]
for package in packages:
    name, version = package["name"], package["version"]
    module = name.replace("-", "_")
    info = f"{module}-{version}.dist-info"
    requires = "".join(f"Requires-Dist: {one}\\n" for one in package.get("requires", []))
    files = {
        f"{module}.py": package.get("module", f"VERSION = {version!r}\\n"),
        f"{info}/METADATA": f"Metadata-Version: 2.1\\nName: {name}\\nVersion: {version}\\n{requires}",
        f"{info}/WHEEL": WHEEL,
    }
    files[f"{info}/RECORD"] = "".join(f"{path},,\\n" for path in [*files, f"{info}/RECORD"])
    wheel = f"{module}-{version}-py3-none-any.whl"
    if "build" not in package:
        with zipfile.ZipFile(f"{folder}/{wheel}", "w") as archive:
            for path, text in files.items(): archive.writestr(path, text)
        continue
    sources = {
        "PKG-INFO": files[f"{info}/METADATA"],
        "pyproject.toml": '[build-system]\\nrequires = []\\nbuild-backend = "backend"\\nbackend-path = ["."]\\n',
        "backend.py": BACKEND,
        "attack.py": package["build"],
        "files.json": json.dumps([files, wheel]),
    }
    with tarfile.open(f"{folder}/{name}-{version}.tar.gz", "w:gz") as archive:
        for path, text in sources.items():
            entry = tarfile.TarInfo(f"{name}-{version}/{path}")
            entry.size = len(text.encode())
            archive.addfile(entry, io.BytesIO(text.encode()))
`;

export async function packageIndex(packages: readonly FakePackage[]): Promise<FakeIndex> {
  const folder = temporaryFolder();
  execFileSync("python3", ["-I", "-c", BUILDER, folder], { input: JSON.stringify(packages) });
  const files = packages.map(({ name, version, build }) => ({
    name,
    file:
      build === undefined
        ? `${name.replaceAll("-", "_")}-${version}-py3-none-any.whl`
        : `${name}-${version}.tar.gz`,
  }));
  const asked: string[] = [];
  const held = new Map<string, { reached: () => void; until: Promise<void> }>();
  const server = createServer((request, response) => {
    const url = request.url ?? "";
    asked.push(url);
    const [, place, name] = url.split("/");
    const answer = (): void => {
      const found = files.filter((one) => one.name === name || one.file === name);
      if (found.length === 0) {
        response.writeHead(404).end();
      } else if (place === "simple") {
        const links = found.map(({ file }) => `<a href="/files/${file}">${file}</a>`).join("\n");
        response.writeHead(200, { "content-type": "text/html" }).end(`<html><body>${links}</body></html>`);
      } else response.writeHead(200).end(readFileSync(path.join(folder, found[0]!.file)));
    };
    const hold = held.get(name ?? "");
    hold?.reached();
    void (hold?.until ?? Promise.resolve()).then(answer);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as { port: number };
  return {
    port,
    asked,
    env: {
      PIP_INDEX_URL: `http://127.0.0.1:${port}/simple`,
      PIP_TRUSTED_HOST: "127.0.0.1",
      PIP_CONFIG_FILE: "/dev/null",
      PIP_RETRIES: "0",
    },
    hold(name) {
      const reached = Promise.withResolvers<void>();
      const until = Promise.withResolvers<void>();
      held.set(name, { reached: reached.resolve, until: until.promise });
      return {
        reached: reached.promise,
        letGo: () => {
          held.delete(name);
          until.resolve();
        },
      };
    },
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
