import { readFileSync } from "node:fs";
import { instantiateSync } from "@assemblyscript/loader";
import { releaseBytes } from "../move.ts";
import { PACKAGE_ROOT } from "../package-root.ts";

/** An address in the module's linear memory. */
export type Pointer = number & { readonly __pointer?: never };

/** One instance of the WASM core and its memory. Each worker thread owns one. */
export interface CoreModule {
  readonly exports: Readonly<Record<string, (...args: never[]) => number>>;
  readonly memory: { readonly buffer: ArrayBuffer; grow(pages: number): number };
}

/** From here on a copy of this many bytes is worth two more objects. */
const LARGE_BYTES = 16_384;
const DEFAULT_WASM = new URL(`${PACKAGE_ROOT}build/millrace.wasm`);

const imports = {
  env: {
    abort: (_message: number, _file: number, line: number, column: number): never => {
      throw new Error(`WASM core aborted at ${line}:${column}`);
    },
  },
};
/** Compiled, by file: a thread's second instance is made of the same. */
const compiled = new Map<string, WebAssembly.Module>();

/**
 * Instantiates the core. `file`, or `MILLRACE_WASM`, names another build of it.
 * @throws when the file is missing: run `npm run build:wasm`.
 */
export function instantiateCore(
  file: string | URL = process.env["MILLRACE_WASM"] ?? DEFAULT_WASM,
): CoreModule {
  const known = compiled.get(String(file));
  // Those of the instance: the loader's own have a function around each, for optional arguments, of which the core has none.
  const { exports } = (known === undefined ? compile(file) : instantiateSync(known, imports)).instance;
  return {
    exports: exports as unknown as CoreModule["exports"],
    memory: exports["memory"] as CoreModule["memory"],
  };
}

function compile(file: string | URL): ReturnType<typeof instantiateSync> {
  const bytes = readFileSync(file);
  const made = instantiateSync(bytes, imports);
  compiled.set(String(file), made.module);
  // V8 has its own copy, one for all threads; this one would wait for a collection that hardly ever comes.
  releaseBytes(bytes);
  return made;
}

/** A copy of `length` bytes at `pointer`, in a buffer of its own. */
export function copyOut(core: CoreModule, pointer: Pointer, length: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(core.memory.buffer, pointer >>> 0, length);
  if (length < LARGE_BYTES) return bytes.slice() as Uint8Array<ArrayBuffer>;
  // Not made zero first.
  const copy = new Uint8Array(Buffer.allocUnsafeSlow(length).buffer);
  copy.set(bytes);
  return copy;
}

/** Writes bytes at `pointer`, which must have room for them. */
export function copyIn(core: CoreModule, pointer: Pointer, bytes: Uint8Array): void {
  new Uint8Array(core.memory.buffer, pointer >>> 0, bytes.length).set(bytes);
}

interface MemoryExports {
  allocate(length: number): Pointer;
  release(pointer: Pointer): void;
}

/** The core may read some bytes beyond what it was given. */
const PADDING_BYTES = 16;

/** Has bytes stand in the core's memory while they are used. */
export function withBytes<T>(core: CoreModule, bytes: Uint8Array, use: (at: Pointer) => T): T {
  const { allocate, release } = core.exports as unknown as MemoryExports;
  const at = allocate(bytes.length + PADDING_BYTES) >>> 0;
  copyIn(core, at, bytes);
  try {
    return use(at);
  } finally {
    release(at);
  }
}
