import { readFileSync, statSync } from "node:fs";
import { MillraceError } from "../../workers/errors.ts";
import { KEY_BYTES, type MasterKey, masterKey, parseMasterKey } from "../../workers/seal/master-key.ts";
import type { EncryptionConfig, KeySource } from "./encryption-schema.ts";
import type { Path } from "./places.ts";

/** What has more than this is no key. */
export const MAX_KEY_TEXT_BYTES = 4_096;

/** A key file is read with the configuration, so that `check` finds what is wrong with it; a command is not run by then. */
export function checkKeyFiles(
  config: EncryptionConfig,
  refuse: (path: Path, text: string) => void,
): EncryptionConfig {
  const check = (source: KeySource, path: Path): void => {
    if (source.kind !== "file") return;
    try {
      readKeyFile(source.file);
    } catch (cause) {
      if (!(cause instanceof MillraceError)) throw cause;
      refuse([...path, "keyFile"], cause.message);
    }
  };
  check(config.key, ["encryption"]);
  for (const [at, source] of config.previous.entries()) check(source, ["encryption", "previous", at]);
  return config;
}

/** @throws MillraceError E_KEY_FILE, E_KEY */
export function readKeyFile(file: string): MasterKey {
  return keyOf(readShort(file), file);
}

/** Programs that unseal a key may print its bytes as they are. @throws MillraceError E_KEY */
export function keyOf(bytes: Buffer, from: string): MasterKey {
  return bytes.length === KEY_BYTES ? masterKey(bytes) : parseMasterKey(bytes.toString("latin1"), from);
}

function readShort(file: string): Buffer {
  try {
    const { size } = statSync(file);
    if (size > MAX_KEY_TEXT_BYTES) throw new Error(`it has ${size} bytes, a key is short`);
    return readFileSync(file);
  } catch (cause) {
    const detail = cause instanceof Error ? cause.message : String(cause);
    throw new MillraceError(
      "E_KEY_FILE",
      `the key file ${file} cannot be read (${detail}); check encryption.keyFile and who may read it`,
      { cause },
    );
  }
}
