import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import type { Cleanup } from "../../test/support/temp-dir.ts";

/** A helper process of a bench: gets its options as a first message, answers with messages of its own. */
export class Child<Message> {
  readonly #child: ChildProcess;
  readonly #messages: Message[] = [];
  #wake: (() => void) | null = null;

  constructor(file: URL, options: object, cleanup: Cleanup) {
    const child = fork(fileURLToPath(file), {
      serialization: "advanced",
      stdio: ["ignore", "inherit", "inherit", "ipc"],
    });
    this.#child = child;
    child.on("message", (message) => {
      this.#messages.push(message as Message);
      this.#wake?.();
    });
    // All messages come before the disconnection.
    child.on("disconnect", () => this.#wake?.());
    child.send(options);
    cleanup.after(async () => {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const ended = once(child, "exit");
      child.kill("SIGKILL");
      await ended;
    });
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  send(message: object): void {
    this.#child.send(message);
  }

  /** The next message. Throws when the process ends without one. */
  async next(): Promise<Message> {
    while (true) {
      const message = this.#messages.shift();
      if (message !== undefined) return message;
      if (!this.#child.connected) throw new Error("a helper process ended before it had said all");
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }
}

/** In the helper: the options that the bench sent. */
export async function receiveOptions<T>(): Promise<T> {
  const [options] = (await once(process, "message")) as [T];
  return options;
}

/** In the helper: a message to the bench; resolves when it is on its way, and only then may the helper end. */
export function report(message: object): Promise<void> {
  return new Promise((resolve, reject) => {
    if (process.send === undefined) return reject(new Error("this is started by a bench"));
    process.send(message, undefined, undefined, (cause) => (cause === null ? resolve() : reject(cause)));
  });
}

/** A clock that all processes of a machine share, in ms. */
export function machineMs(): number {
  return Number(process.hrtime.bigint() / 1_000n) / 1_000;
}
