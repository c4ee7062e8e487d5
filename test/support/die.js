import { existsSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { isMainThread } from "node:worker_threads";

/**
 * Loaded into a node by `--import`: a worker thread ends in the middle of its work, as one that was killed, as soon as the
 * file that `MILLRACE_DIE_FILE` names is there. `MILLRACE_DIE` says in what: an exported function of the WASM core, or
 * `COMMIT`, of the store.
 */
const file = process.env.MILLRACE_DIE_FILE ?? "";
const name = process.env.MILLRACE_DIE ?? "";

function dieIfTold() {
  if (!existsSync(file)) return;
  rmSync(file);
  process.exit(1);
}

if (!isMainThread && name === "COMMIT") {
  const Database = createRequire(import.meta.url)("better-sqlite3");
  const { prototype } = Database(":memory:").prepare("SELECT 1").constructor;
  const run = prototype.run;
  prototype.run = function (...values) {
    if (this.source === "COMMIT") dieIfTold();
    return run.apply(this, values);
  };
} else if (!isMainThread) {
  const RealInstance = WebAssembly.Instance;
  WebAssembly.Instance = new Proxy(RealInstance, {
    construct(target, [module, imports]) {
      const instance = new target(module, imports);
      const real = instance.exports[name];
      if (typeof real !== "function") return instance;
      const exports = { ...instance.exports };
      exports[name] = (...args) => {
        dieIfTold();
        return real(...args);
      };
      return { exports };
    },
  });
}
