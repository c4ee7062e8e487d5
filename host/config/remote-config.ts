import type { ConfigFile } from "./schema.ts";

/** How an edge takes its configuration from its hub. Times in ms. */
export interface RemoteConfigSettings {
  readonly everyMs: number;
  /** Ed25519; null: what is not signed is taken, too. */
  readonly publicKey: string | null;
  /** The only group whose configuration is taken; null: any. */
  readonly group: string | null;
  /** For how long a new version is watched before it counts as good. */
  readonly watchMs: number;
  /** How long the hub may be out of reach behind a change. */
  readonly reachMs: number;
  /** Of the events that come while it is watched, how many may be bad. */
  readonly maxBadShare: number;
}

const DEFAULTS: RemoteConfigSettings = {
  everyMs: 30_000,
  publicKey: null,
  group: null,
  watchMs: 60_000,
  reachMs: 600_000,
  maxBadShare: 0.1,
};

type Input = NonNullable<NonNullable<ConfigFile["sync"]>["config"]>;

/** null: the edge keeps to its own file. */
export function buildRemoteConfig(input: Input | null | undefined): RemoteConfigSettings | null {
  if (input == null || input === false) return null;
  if (input === true) return DEFAULTS;
  const { every, publicKey, group, watch, reach, maxBad } = input;
  return {
    everyMs: every === undefined ? DEFAULTS.everyMs : every / 1_000,
    publicKey: publicKey ?? null,
    group: group ?? null,
    watchMs: watch === undefined ? DEFAULTS.watchMs : watch / 1_000,
    reachMs: reach === undefined ? DEFAULTS.reachMs : reach / 1_000,
    maxBadShare: maxBad === undefined ? DEFAULTS.maxBadShare : maxBad / 100,
  };
}
