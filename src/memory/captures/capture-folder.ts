/** Where the contents of captures lie, compressed. */
import { ContentFolder } from "../content-folder.ts";

export interface ContentsSetup {
  readonly folder: string;
  /** See `RightOfWay`. */
  readonly executions: SharedArrayBuffer;
}

export class CaptureFolder extends ContentFolder {
  constructor(folder: string) {
    super(folder, ".zst");
  }

  /** Gives a synced file its name, safe against power loss. */
  keep(file: string, digest: string): Promise<void> {
    return this.move(file, digest, true);
  }
}
