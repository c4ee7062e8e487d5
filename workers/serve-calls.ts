import { type MessagePort, receiveMessageOnPort } from "node:worker_threads";
import { takeMoved } from "./move.ts";

/** The way from the main thread into one that serves its calls. */
export interface CallChannel {
  readonly port: MessagePort;
  /** Counts the calls made: a thread that has answered all sleeps until it changes. */
  readonly bell: Int32Array<SharedArrayBuffer>;
}

/**
 * Between two turns of the thread's event loop while there are calls. What N-API has to finalize (statements of SQLite that nobody
 * needs any more, and what they hold) and what V8 has put off wait for a turn: a thread that only sleeps and answers would keep all of
 * it.
 */
const TURN_EVERY_MS = 100;

/** The name of a function that the thread's module exports, and what it is given. */
export type Call = readonly [name: string, task: unknown];
/** Answers come in the order of the calls. What was thrown loses its code on the way. */
export type Answer = readonly [outcome: "value" | "thrown", value: unknown];

type Functions = Readonly<Record<string, ((task: unknown) => unknown) | undefined>>;

/**
 * Makes the function by which a thread's module begins to serve calls of what else it exports, in their order and one at a time, until
 * the thread is ended. Between calls the thread sleeps, and its event loop with it, but for a turn now and then.
 *
 * @param module the module's own `import.meta.url`
 */
export function callServer(module: string): (channel: CallChannel) => Promise<void> {
  return async (channel) => {
    const functions = (await import(module)) as Functions;
    // The caller hears that the thread is there before this blocks.
    setImmediate(() => void serve(functions, channel));
  };
}

async function serve(functions: Functions, { port, bell }: CallChannel): Promise<never> {
  let heard = 0;
  let turnedMs = performance.now();
  for (;;) {
    Atomics.wait(bell, 0, heard);
    // Read before the messages: what is called from here on wakes it again.
    heard = Atomics.load(bell, 0);
    for (let next = receiveMessageOnPort(port); next !== undefined; next = receiveMessageOnPort(port)) {
      const [name, task] = next.message as Call;
      try {
        const run = functions[name];
        if (run === undefined) throw new Error(`this thread has no function ${name}`);
        const { value, buffers } = takeMoved(await run(task));
        port.postMessage(["value", value] satisfies Answer, buffers);
      } catch (cause) {
        port.postMessage(["thrown", cause] satisfies Answer);
      }
      if (performance.now() - turnedMs < TURN_EVERY_MS) continue;
      await turn();
      turnedMs = performance.now();
    }
  }
}

/** Once around the event loop. */
function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
