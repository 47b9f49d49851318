/** No isolation: session code runs as the daemon's user and sees what that user sees. Only when asked for. */
import { KERNEL_FOLDER, supervisorCommand } from "../languages/python/launch.ts";
import type { BoxPlace, Enclosed, Enclosure } from "./enclosure.ts";

export class NoIsolation implements Enclosure {
  readonly tier = "none";
  readonly #cache: string;

  /** `cache`: compiled modules of the kernel. */
  constructor(cache: string) {
    this.#cache = cache;
  }

  enclose({ folder, work, interpreter }: BoxPlace): Promise<Enclosed> {
    const [command, ...args] = supervisorCommand(interpreter, KERNEL_FOLDER, this.#cache, folder);
    return Promise.resolve({
      command: command!,
      args,
      env: { LANG: "C.UTF-8" },
      descriptors: [],
      folder,
      work,
      temporary: null,
      limits: null,
      owner: null,
    });
  }
}
