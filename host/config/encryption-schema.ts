import { isAbsolute } from "node:path";
import * as z from "zod";
import { parseMasterKey } from "../../workers/seal/master-key.ts";
import { splitCommand } from "./command-line.ts";

/** Where a key is. */
export type KeySource =
  | { readonly kind: "text"; readonly text: string }
  | { readonly kind: "file"; readonly file: string }
  /** A program and its arguments; no shell is in between. */
  | { readonly kind: "command"; readonly command: readonly string[] };

export interface EncryptionConfig {
  readonly key: KeySource;
  /** Keys that data may still be under. */
  readonly previous: readonly KeySource[];
}

/** Previous keys at most. */
const MAX_PREVIOUS = 16;
const ONE_OF = "must have one of key, keyFile and keyCommand";
const KEY_MESSAGE =
  "must be 32 bytes as 64 hex digits or as Base64; make one with `openssl rand -hex 32` and take it from the environment";
const FILE_MESSAGE = "must be a file by its whole path; write it like /etc/millrace/key";
const COMMAND_MESSAGE = "must be a program and its arguments; write it like tpm2_unseal -c 0x81010001";

const command = z.union(
  [
    z.string(COMMAND_MESSAGE).transform((text, context) => {
      const words = splitCommand(text);
      if (words !== null && words.length > 0) return words;
      context.addIssue({ code: "custom", message: COMMAND_MESSAGE });
      return z.NEVER;
    }),
    z.array(z.string(COMMAND_MESSAGE)).min(1, COMMAND_MESSAGE),
  ],
  COMMAND_MESSAGE,
);

const keyParts = {
  key: z
    .string(KEY_MESSAGE)
    .refine(isKey, KEY_MESSAGE)
    .optional()
    .describe("The key: 64 hex digits or Base64. Take it from an environment variable."),
  keyFile: z
    .string(FILE_MESSAGE)
    .refine((file) => isAbsolute(file), FILE_MESSAGE)
    .optional()
    .describe("A file with the key, by its whole path."),
  keyCommand: command
    .optional()
    .describe("A program that prints the key; run without a shell, for 10 s at most."),
};
type KeyParts = z.output<z.ZodObject<typeof keyParts>>;

const previousKey = z.strictObject(keyParts).transform(sourceOf);

export const encryption = z
  .strictObject({
    ...keyParts,
    previous: z
      .array(previousKey)
      .max(MAX_PREVIOUS, `must have ${MAX_PREVIOUS} at most`)
      .optional()
      .describe("Keys that data may still be under, until a node has run with the new one."),
  })
  .transform(({ previous, ...parts }, context): EncryptionConfig => {
    return { key: sourceOf(parts, context), previous: previous ?? [] };
  });

function sourceOf({ key, keyFile, keyCommand }: KeyParts, context: z.core.$RefinementCtx): KeySource {
  const sources: KeySource[] = [];
  if (key !== undefined) sources.push({ kind: "text", text: key });
  if (keyFile !== undefined) sources.push({ kind: "file", file: keyFile });
  if (keyCommand !== undefined) sources.push({ kind: "command", command: keyCommand });
  const [only] = sources;
  if (only !== undefined && sources.length === 1) return only;
  context.issues.push({ code: "custom", message: ONE_OF, input: undefined });
  return z.NEVER;
}

function isKey(text: string): boolean {
  try {
    parseMasterKey(text, "key");
    return true;
  } catch {
    return false;
  }
}
