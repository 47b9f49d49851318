import { availableParallelism } from "node:os";
import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["tests/**/*.test.ts"],
    globalSetup: ["tests/support/isolation.ts", "tests/support/leaks.ts"],
    setupFiles: ["tests/support/environment.ts"],
    pool: "forks",
    // Most tests wait for other processes: three files at a time, also where there are two processors.
    maxWorkers: Math.max(3, availableParallelism() - 1),
    testTimeout: 30_000,
    hookTimeout: 30_000,
    passWithNoTests: false,
  },
});
