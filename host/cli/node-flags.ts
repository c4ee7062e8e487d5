/** What a node is started with, beside it: those of `npm start` and of `host/cli/bin.js`, which says why; a test holds them together. */
export const START_FLAGS: readonly string[] = [
  "--max-semi-space-size=1",
  "--no-node-snapshot",
  "--no-short-builtin-calls",
];
export const START_ENVIRONMENT: Readonly<Record<string, string>> = { MALLOC_ARENA_MAX: "1" };
