import { existsSync, rmSync } from "node:fs";

/**
 * Loaded into a node by `--import`: makes an exported function of the WASM core trap once, really, in whatever thread
 * calls it next, as soon as the file that `MILLRACE_TRAP_FILE` names is there. `MILLRACE_TRAP` names the function.
 */
const file = process.env.MILLRACE_TRAP_FILE ?? "";
const name = process.env.MILLRACE_TRAP ?? "";

/** `(module (func (export "trap") unreachable))` */
const TRAP = new Uint8Array([
  0, 97, 115, 109, 1, 0, 0, 0, 1, 4, 1, 96, 0, 0, 3, 2, 1, 0, 7, 8, 1, 4, 116, 114, 97, 112, 0, 0, 10, 5, 1,
  3, 0, 0, 11,
]);

const RealInstance = WebAssembly.Instance;
WebAssembly.Instance = new Proxy(RealInstance, {
  construct(target, [module, imports]) {
    const instance = new target(module, imports);
    const real = instance.exports[name];
    if (typeof real !== "function") return instance;
    const exports = { ...instance.exports };
    exports[name] = (...args) => {
      if (existsSync(file)) {
        rmSync(file);
        new RealInstance(new WebAssembly.Module(TRAP)).exports.trap();
      }
      return real(...args);
    };
    return { exports };
  },
});
