import { type Document, visit } from "yaml";
import { unveil, VEILED_VARIABLE } from "./veil.ts";

export type Environment = Readonly<Record<string, string | undefined>>;

export interface MissingVariable {
  readonly name: string;
  /** Of its `$`, in the file. */
  readonly offset: number;
  /** Of the whole text that it stands in. */
  readonly textOffset: number;
}

/**
 * Puts the environment's values into every text of a veiled document, and lifts the veil. Since this comes after
 * parsing, a value cannot change the document's form. @returns the variables that are not set.
 */
export function substituteVariables(document: Document, environment: Environment): MissingVariable[] {
  const missing: MissingVariable[] = [];
  visit(document, {
    Scalar: (place, node) => {
      if (typeof node.value !== "string") return;
      const start = node.range?.[0] ?? 0;
      const substituted = node.value.replace(VEILED_VARIABLE, (veiled, name: string) => {
        if (place === "key") return veiled;
        const value = environment[name];
        if (value === undefined) {
          const within = Math.max(0, node.source?.indexOf(veiled) ?? 0);
          missing.push({ name, offset: start + within, textOffset: start });
        }
        return value ?? "";
      });
      node.value = unveil(substituted);
    },
  });
  return missing;
}
