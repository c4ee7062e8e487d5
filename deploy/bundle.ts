import { mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";
import { type BuildOptions, build, type Plugin } from "esbuild";

/**
 * Makes the compiled form, `dist/`: few files without types and comments, which a start reads and keeps in memory. What is
 * loaded at every start is bundled, and only what is used of it; what only some nodes need stays a package of its own.
 * Names are left as they are, so that stack traces can be read.
 */

const ROOT = fileURLToPath(new URL("../", import.meta.url));
const OUT = `${ROOT}dist`;
/** Written here first: a node that runs may load more of what it was started from at any moment, also while `npx` prepares the package. */
const NEW = `${OUT}/.new-${process.pid}`;
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
  outdir: NEW,
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

/** Files of a folder and those below it, by path from it. */
function filesOf(folder: string): string[] {
  const entries = readdirSync(folder, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile())
    .map(({ parentPath, name }) => `${parentPath}/${name}`.slice(folder.length + 1));
}

/** Puts each new file in its place, those that others import first, and takes away what is not there any more. */
function putInPlace(): void {
  const made = filesOf(NEW);
  const isChunk = (file: string): boolean => file.includes("/chunks/");
  for (const file of [...made.filter(isChunk), ...made.filter((file) => !isChunk(file))]) {
    mkdirSync(dirname(`${OUT}/${file}`), { recursive: true });
    renameSync(`${NEW}/${file}`, `${OUT}/${file}`);
  }
  const kept = new Set(made);
  for (const folder of ["host", "workers"])
    for (const file of filesOf(`${OUT}/${folder}`))
      if (!kept.has(`${folder}/${file}`)) rmSync(`${OUT}/${folder}/${file}`, { force: true });
}

rmSync(NEW, { recursive: true, force: true });
await bundle(["host/cli/bin.ts", "host/sync/sinks/sink-thread.ts"], "host/chunks/[name]-[hash]");
// Each by itself: what two of them share would come to each in small pieces.
for (const name of WORKERS) await bundle([`workers/${name}.ts`], "workers/chunks/[name]-[hash]");
putInPlace();
writeFileSync(`${NEW}/.built`, [...sources].join("\n"));
renameSync(`${NEW}/.built`, BUILT);
rmSync(NEW, { recursive: true });
