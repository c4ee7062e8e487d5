import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { type Cleanup, makeTempDir } from "./temp-dir.ts";

const PLACES = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];
const TIMEOUT_MS = 180_000;
const LISTENING = /DevTools listening on (ws:\S+)/;

/** Why tests with a browser cannot run here, or false: for the option `skip` of a test. */
export function withoutChromium(): string | false {
  return binary() === null ? "chromium is not installed; test/setup-debian.sh installs it" : false;
}

type Members = Readonly<Record<string, unknown>>;
interface Waiting {
  readonly settle: (result: Members) => void;
  readonly fail: (cause: Error) => void;
}

/** A real Chromium without a window, driven by the DevTools protocol (https://chromedevtools.github.io/devtools-protocol/). */
export class Chromium {
  readonly #socket: WebSocket;
  readonly #waiting = new Map<number, Waiting>();
  readonly #listeners = new Set<(method: string, params: Members, session: unknown) => void>();
  #lastId = 0;

  private constructor(socket: WebSocket) {
    this.#socket = socket;
    socket.addEventListener("message", ({ data }) => this.#take(JSON.parse(String(data)) as Members));
    socket.addEventListener("close", () => {
      for (const { fail } of this.#waiting.values()) fail(new Error("the browser is gone"));
    });
  }

  static async start(cleanup: Cleanup): Promise<Chromium> {
    const file = binary();
    if (file === null) throw new Error("chromium is not installed");
    const flags = ["--headless=new", "--remote-debugging-port=0", "--disable-gpu", "--disable-dev-shm-usage"];
    // It refuses to run as root with its sandbox.
    const sandbox = process.getuid?.() === 0 ? ["--no-sandbox"] : [];
    const child = spawn(
      file,
      [...flags, ...sandbox, `--user-data-dir=${makeTempDir(cleanup)}`, "about:blank"],
      {
        stdio: ["ignore", "ignore", "pipe"],
      },
    );
    cleanup.after(() => end(child));
    const socket = new WebSocket(await addressOf(child));
    await once(socket, "open", { signal: AbortSignal.timeout(TIMEOUT_MS) });
    return new Chromium(socket);
  }

  /** Loads a page in a tab of its own. */
  async open(url: string): Promise<BrowserPage> {
    const { targetId } = await this.call("Target.createTarget", { url: "about:blank" });
    const { sessionId } = await this.call("Target.attachToTarget", { targetId, flatten: true });
    const page = new BrowserPage((method, params) => this.call(method, params, sessionId));
    this.#listeners.add((method, params, session) => {
      if (session === sessionId) page.hear(method, params);
    });
    for (const domain of ["Page", "Runtime", "Log", "Network"]) await page.call(`${domain}.enable`);
    await page.call("Page.navigate", { url });
    return page;
  }

  call(method: string, params: Members = {}, sessionId?: unknown): Promise<Members> {
    const id = ++this.#lastId;
    return new Promise((settle, fail) => {
      this.#waiting.set(id, { settle, fail });
      this.#socket.send(JSON.stringify({ id, method, params, sessionId }));
    });
  }

  #take({ id, result, error, method, params, sessionId }: Members): void {
    if (typeof id !== "number") {
      for (const listener of this.#listeners) listener(String(method), (params ?? {}) as Members, sessionId);
      return;
    }
    const waiting = this.#waiting.get(id);
    this.#waiting.delete(id);
    if (error === undefined) waiting?.settle((result ?? {}) as Members);
    else waiting?.fail(new Error(JSON.stringify(error)));
  }
}

/** A tab, and what went wrong in it. */
export class BrowserPage {
  readonly call: (method: string, params?: Members) => Promise<Members>;
  /** Errors and warnings of the console, exceptions, what the policy kept from running, and answers of 400 and more. */
  readonly problems: string[] = [];
  /** Addresses that it asked. */
  readonly requests: string[] = [];

  constructor(call: (method: string, params?: Members) => Promise<Members>) {
    this.call = call;
  }

  hear(method: string, params: Members): void {
    if (method === "Runtime.exceptionThrown") this.problems.push(JSON.stringify(params));
    if (method === "Runtime.consoleAPICalled" && ["error", "warning", "assert"].includes(String(params.type)))
      this.problems.push(JSON.stringify(params.args));
    if (method === "Log.entryAdded") {
      const { level, text } = params.entry as Members;
      if (level === "error" || level === "warning") this.problems.push(String(text));
    }
    if (method === "Network.requestWillBeSent") this.requests.push(String((params.request as Members).url));
    if (method !== "Network.responseReceived") return;
    const { status, url } = params.response as Members;
    if (Number(status) >= 400) this.problems.push(`${String(status)} ${String(url)}`);
  }

  /** The value of an expression in the page. */
  async evaluate<T>(expression: string): Promise<T> {
    const { result, exceptionDetails } = await this.call("Runtime.evaluate", {
      expression,
      returnByValue: true,
      awaitPromise: true,
    });
    if (exceptionDetails !== undefined) throw new Error(JSON.stringify(exceptionDetails));
    return (result as Members).value as T;
  }

  /** Waits until the text that is seen has it. */
  async shows(pattern: RegExp): Promise<string> {
    const deadline = performance.now() + TIMEOUT_MS;
    for (;;) {
      const text = await this.evaluate<string>("document.body?.innerText ?? ''");
      if (pattern.test(text)) return text;
      if (performance.now() > deadline)
        throw new Error(`the page never showed ${pattern}:\n${text}\n${this.problems.join("\n")}`);
      await sleep(50);
    }
  }
}

async function addressOf(child: ChildProcess): Promise<string> {
  const lines: string[] = [];
  const deadline = setTimeout(() => child.kill("SIGKILL"), TIMEOUT_MS);
  try {
    for await (const line of createInterface({ input: child.stderr! })) {
      lines.push(line);
      const found = LISTENING.exec(line)?.[1];
      if (found !== undefined) return found;
    }
  } finally {
    clearTimeout(deadline);
    // What it writes later is nobody's.
    child.stderr?.resume();
  }
  throw new Error(`chromium did not start:\n${lines.join("\n")}`);
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, "exit");
  child.kill("SIGKILL");
  await ended;
}

function binary(): string | null {
  return PLACES.find((place) => existsSync(place)) ?? null;
}
