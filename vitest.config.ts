import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["tests/**/*.test.ts"],
    globalSetup: ["tests/support/isolation.ts", "tests/support/leaks.ts"],
    setupFiles: ["tests/support/environment.ts"],
    pool: "forks",
    testTimeout: 30_000,
    hookTimeout: 30_000,
    passWithNoTests: false,
  },
});
