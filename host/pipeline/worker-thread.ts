import { MessageChannel, type MessagePort, type Transferable } from "node:worker_threads";
import { Piscina } from "piscina";
import type { Answer, Call, CallChannel } from "../../workers/serve-calls.ts";

/** What a thread's module calls its `callServer`. */
const SERVE = "serve";

interface Waiting {
  readonly resolve: (value: unknown) => void;
  readonly reject: (cause: unknown) => void;
}

/**
 * A thread of its own for a worker's module, whose functions are called one at a time, in the order of the calls. A request passes
 * three such threads, and at a low rate what it costs is the way there and back: so piscina starts the thread, and the calls go over a
 * port of their own, without piscina's account of each task.
 *
 * A thread that is lost fails the calls it has; the next call is made in a new one, which knows nothing of what was. Unless somebody
 * wants to hear of it (`onLost`): what the thread held is gone then, and all further calls fail with what ended it.
 */
export class WorkerThread {
  readonly #pool: Piscina;
  /** To the thread that there is; null: none was called yet, or it was lost. */
  #calls: OpenCalls | null = null;
  #isClosed = false;
  /** What ended the thread, where no other takes its place. */
  #loss: { readonly cause: unknown } | null = null;
  /** Hears once of what ended a thread that had calls to make. */
  onLost: ((cause: unknown) => void) | null = null;
  /** That were made. */
  calls = 0;

  /** `file`: of a module that exports `serve = callServer(import.meta.url)`. */
  constructor(file: string) {
    this.#pool = new Piscina({
      filename: file,
      minThreads: 1,
      maxThreads: 1,
      idleTimeout: Number.POSITIVE_INFINITY,
      // It sleeps in `serveCalls`.
      atomics: "disabled",
      recordTiming: false,
    });
    this.#pool.on("error", (cause: unknown) => this.#lose(this.#calls, cause));
    this.#pool.on("workerDestroy", () => {
      const calls = this.#calls;
      // What ended it, where that is known, is told right behind this.
      queueMicrotask(() => this.#lose(calls, new Error("the thread ended")));
    });
  }

  /** Rejects with what the function throws, whose code is lost on the way, or with what ended the thread. */
  call<T>(name: string, task: unknown, transferList: readonly Transferable[] = []): Promise<T> {
    if (this.#isClosed) return Promise.reject(new Error("the thread was ended"));
    if (this.#loss !== null) return Promise.reject(this.#loss.cause);
    this.#calls ??= this.#open();
    this.calls++;
    return this.#calls.call(name, task, transferList) as Promise<T>;
  }

  /** Ends the thread; calls under way fail. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#lose(this.#calls, new Error("the thread was ended"));
    await this.#pool.destroy();
  }

  #open(): OpenCalls {
    const { port1, port2 } = new MessageChannel();
    const bell = new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT));
    const calls = new OpenCalls(port1, bell);
    this.#pool
      .run({ port: port2, bell } satisfies CallChannel, { name: SERVE, transferList: [port2] })
      .catch((cause: unknown) => this.#lose(calls, cause));
    return calls;
  }

  #lose(calls: OpenCalls | null, cause: unknown): void {
    if (this.#calls === calls) this.#calls = null;
    calls?.fail(cause);
    if (calls === null || this.onLost === null || this.#isClosed || this.#loss !== null) return;
    this.#loss = { cause };
    this.onLost(cause);
  }
}

/** Calls made over a port, in their order. They keep the process running as long as one waits. */
class OpenCalls {
  readonly #port: MessagePort;
  readonly #bell: Int32Array<SharedArrayBuffer>;
  readonly #waiting: Waiting[] = [];

  constructor(port: MessagePort, bell: Int32Array<SharedArrayBuffer>) {
    this.#port = port;
    this.#bell = bell;
    port.on("message", ([outcome, value]: Answer) => {
      const call = this.#waiting.shift();
      if (this.#waiting.length === 0) port.unref();
      if (outcome === "value") call?.resolve(value);
      else call?.reject(value);
    });
    port.unref();
  }

  call(name: string, task: unknown, transferList: readonly Transferable[]): Promise<unknown> {
    return new Promise((resolve, reject) => {
      this.#port.postMessage([name, task] satisfies Call, transferList);
      if (this.#waiting.length === 0) this.#port.ref();
      this.#waiting.push({ resolve, reject });
      Atomics.add(this.#bell, 0, 1);
      Atomics.notify(this.#bell, 0);
    });
  }

  fail(cause: unknown): void {
    this.#port.close();
    for (const { reject } of this.#waiting.splice(0)) reject(cause);
  }
}
