/** No isolation: session code runs as the daemon's user and sees what that user sees. Only when asked for. */
import { installerCommand, KERNEL_FOLDER, supervisorCommand } from "../languages/python/launch.ts";
import type { BoxPlace, Enclosed, EnclosedProgram, Enclosure, InstallPlace, Specify } from "./enclosure.ts";

export class NoIsolation implements Enclosure {
  readonly tier = "none";
  readonly owner = null;
  readonly #cache: string;

  /** `cache`: compiled modules of the kernel. */
  constructor(cache: string) {
    this.#cache = cache;
  }

  enclose({ folder, work, packages, interpreter }: BoxPlace): Promise<Enclosed> {
    const [command, ...args] = supervisorCommand(interpreter, KERNEL_FOLDER, this.#cache, folder, null);
    return Promise.resolve({
      command: command!,
      args,
      env: { LANG: "C.UTF-8" },
      descriptors: [],
      folder,
      work,
      packages,
      temporary: null,
      limits: null,
      owner: null,
    });
  }

  encloseInstaller(
    { folder, packages, interpreter }: InstallPlace,
    specify: Specify,
  ): Promise<EnclosedProgram> {
    const specification = specify({ packages, proxy: null, limits: null });
    const [command, ...args] = installerCommand(interpreter, KERNEL_FOLDER, folder, specification);
    return Promise.resolve({ command: command!, args, env: { LANG: "C.UTF-8" }, descriptors: [] });
  }
}
