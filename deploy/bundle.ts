import { rmSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { type BuildOptions, build, type Plugin } from "esbuild";

/**
 * Makes the compiled form, `dist/`: few files without types and comments, which a start reads and keeps in memory. What is
 * loaded at every start is bundled, and only what is used of it; what only some nodes need stays a package of its own.
 * Names are left as they are, so that stack traces can be read.
 */

const ROOT = fileURLToPath(new URL("../", import.meta.url));
const OUT = `${ROOT}dist`;
/** The sources, by name, written last: host/cli/bin.js takes a compiled form that is older than one of them for out of date. */
const BUILT = `${OUT}/.built`;

const WORKERS = [
  "ingest",
  "window",
  "storage",
  "query",
  "scan",
  "sync",
  "backfill",
  "hub",
  "hub-postgres",
] as const;
/** Native, with threads of their own, or not loaded by most nodes. */
const PACKAGES = [
  "@nats-io/*",
  "@platformatic/kafka",
  "aws4fetch",
  "better-sqlite3",
  "hyparquet-writer",
  "piscina",
  "postgres",
  "zstd-codec",
];

const common = {
  absWorkingDir: ROOT,
  outdir: OUT,
  outbase: ROOT,
  bundle: true,
  splitting: true,
  platform: "node",
  format: "esm",
  target: "node22",
  minifySyntax: true,
  minifyWhitespace: true,
  // Line numbers of stack traces are to mean something.
  lineLimit: 120,
  external: [...PACKAGES],
  // CommonJS packages within the bundle ask for Node's own modules.
  banner: {
    js: 'import{createRequire as requireFrom}from"node:module";const require=requireFrom(import.meta.url);',
  },
  logLevel: "warning",
  metafile: true,
} as const satisfies BuildOptions;
/**
 * `import "node:http"` has Node evaluate all that it exports, of which WebSocket and its like are its whole fetch client: 6 MB and
 * 40 ms. `require` leaves these until they are used.
 */
const httpByRequire: Plugin = {
  name: "http-by-require",
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /^node:https?$/ }, ({ kind, path }) =>
      kind === "import-statement" ? { path, namespace: "by-require" } : null,
    );
    onLoad({ filter: /.*/, namespace: "by-require" }, ({ path }) => ({
      contents: `module.exports = require(${JSON.stringify(path)});`,
    }));
  },
};
const sources = new Set<string>();

async function bundle(entryPoints: string[], chunkNames: string): Promise<void> {
  const { metafile } = await build({ ...common, entryPoints, chunkNames, plugins: [httpByRequire] });
  for (const file of Object.keys(metafile.inputs)) if (/^(host|workers)\//.test(file)) sources.add(file);
}

rmSync(OUT, { recursive: true, force: true });
await bundle(["host/cli/bin.ts", "host/sync/sinks/sink-thread.ts"], "host/chunks/[name]-[hash]");
// Each by itself: what two of them share would come to each in small pieces.
for (const name of WORKERS) await bundle([`workers/${name}.ts`], "workers/chunks/[name]-[hash]");
writeFileSync(BUILT, [...sources].join("\n"));
