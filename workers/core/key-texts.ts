import type { QueryPlan } from "../messages.ts";
import { keyJson } from "./group-key.ts";
import { type CoreModule, copyOut } from "./module.ts";

/** Where a window engine of the core has its keys. */
export interface KeyStore {
  /** Another number whenever key numbers have changed their meaning. */
  generation(): number;
  address(key: number): number;
  length(key: number): number;
}

/** The JSON text of a key by its number, kept until numbers change their meaning. */
export function keyTexts(core: CoreModule, store: KeyStore, { by }: QueryPlan): (key: number) => string {
  let texts: string[] = [];
  let generation = -1;
  return (key) => {
    const current = store.generation();
    if (current !== generation) {
      texts = [];
      generation = current;
    }
    const known = texts[key];
    if (known !== undefined) return known;
    const text = keyJson(copyOut(core, store.address(key), store.length(key)), by);
    texts[key] = text;
    return text;
  };
}
