import { setTimeout as sleep } from "node:timers/promises";
import { CommandError, type NodeClient, reasonOf } from "./client.ts";
import { EXIT, warn } from "./output.ts";
import type { RowPrinter } from "./table.ts";

const RECONNECT_MS = 1_000;

type Pages = () => AsyncIterable<readonly string[]>;

/**
 * Prints the rows of queries as they come, until the process is stopped. `history` is printed before: the feed is opened
 * first, and rows that are in both are printed once.
 */
export async function followQueries(
  client: NodeClient,
  names: readonly string[],
  printer: RowPrinter,
  history: Pages | null = null,
): Promise<void> {
  let known: Set<string> | null = history === null ? null : new Set();
  let early: string[] = [];
  const take = (row: string): void => {
    if (known === null) printer.print([row]);
    else early.push(row);
  };
  const feeds = names.map((name) => new Feed(client, name, take));
  await Promise.all(feeds.map((feed) => feed.open()));
  if (history !== null && known !== null) {
    for await (const page of history()) {
      printer.print(page);
      for (const row of page) known.add(row);
    }
    printer.print(early.filter((row) => !known?.has(row)));
    known = null;
    early = [];
  }
  await Promise.all(feeds.map((feed) => feed.run()));
}

/** One query's live feed, opened again whenever it breaks. */
class Feed {
  readonly #client: NodeClient;
  readonly #name: string;
  readonly #take: (row: string) => void;
  #reader: Promise<void> | null = null;

  constructor(client: NodeClient, name: string, take: (row: string) => void) {
    this.#client = client;
    this.#name = name;
    this.#take = take;
  }

  /** Resolves when rows are coming. */
  async open(): Promise<void> {
    const response = await this.#client.get(`/v1/queries/${encodeURIComponent(this.#name)}/live`);
    if (response.body === null)
      throw new CommandError(EXIT.failed, `${this.#client.url} does not answer as a node does`);
    this.#reader = this.#read(response.body);
    // Met in `run`.
    this.#reader.catch(() => {});
  }

  async run(): Promise<never> {
    while (true) {
      const reason = await (this.#reader ?? Promise.resolve()).then(() => "it was closed", reasonOf);
      warn(
        `the live feed of ${this.#name} broke off (${reason}); rows until it is back are in \`millrace query ${this.#name}\``,
      );
      await this.#reopen();
      warn(`the live feed of ${this.#name} is back`);
    }
  }

  async #reopen(): Promise<void> {
    while (true) {
      await sleep(RECONNECT_MS);
      try {
        return await this.open();
      } catch (cause) {
        if (!(cause instanceof CommandError) || cause.exitCode !== EXIT.unreachable) throw cause;
      }
    }
  }

  async #read(body: ReadableStream<Uint8Array>): Promise<void> {
    const decoder = new TextDecoder();
    let text = "";
    for await (const chunk of body) {
      text += decoder.decode(chunk, { stream: true });
      const events = text.split("\n\n");
      text = events.pop() ?? "";
      for (const event of events) {
        const data = event.split("\n").filter((line) => line.startsWith("data:"));
        if (data.length > 0) this.#take(data.map((line) => line.slice(5).trimStart()).join("\n"));
      }
    }
  }
}
