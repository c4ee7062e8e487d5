import type { ConfigFile } from "./schema.ts";

/** Whom a node receives batches for, and how much of them it holds. Sizes in bytes. */
export interface RelayConfig {
  /** By edge; null: none are set, and edges on this machine are let in. */
  readonly tokens: ReadonlyMap<string, string> | null;
  /** Edges that relay themselves, and for whom; null: for any. */
  readonly relays: ReadonlyMap<string, ReadonlySet<string> | null>;
  /** Of batches that wait. */
  readonly capBytes: number;
  /** Relays on the way to the hub, this one included. */
  readonly maxHops: number;
}

const DEFAULTS = { capBytes: 1024 ** 3, maxHops: 4 } as const;

/** null: the node sends for itself alone. */
export function buildRelay(
  input: ConfigFile["relay"],
  hasSync: boolean,
  refuse: (path: readonly string[], text: string) => void,
): RelayConfig | null {
  if (input == null || input === false) return null;
  if (!hasSync) refuse(["relay"], "has nowhere to send to; set sync.url");
  const { tokens, relays, cap, maxHops } = input === true ? {} : input;
  return {
    tokens: tokens == null ? null : new Map(Object.entries(tokens)),
    relays: readRelays(relays),
    capBytes: cap ?? DEFAULTS.capBytes,
    maxHops: maxHops ?? DEFAULTS.maxHops,
  };
}

/** As a configuration has them. */
export function readRelays(
  input: Readonly<Record<string, "any" | readonly string[]>> | null | undefined,
): ReadonlyMap<string, ReadonlySet<string> | null> {
  return new Map(
    Object.entries(input ?? {}).map(([relay, edges]) => [relay, edges === "any" ? null : new Set(edges)]),
  );
}
