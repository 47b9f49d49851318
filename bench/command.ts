/** The checkout's own programs. */
import path from "node:path";

export const ROOT: string = path.resolve(import.meta.dirname, "..");
export const PROGRAM: string = path.join(ROOT, "bin", "execute-code.js");
