import { hkdfSync } from "node:crypto";
import { MillraceError } from "../errors.ts";

/** AES-256. */
export const KEY_BYTES = 32;
/** Bytes of a key's name: it only tells keys of one node apart. */
const ID_BYTES = 8;
const HEX = /^[0-9a-fA-F]{64}$/;
/** Base64 and its form for URLs, with or without padding. */
const BASE64 = /^[A-Za-z0-9+/_-]{43}=?$/;

/** The key that a person keeps. It seals no data: it wraps the keys that do. */
export interface MasterKey {
  /** 16 hex digits, made of the key one-way: it may be shown and logged. */
  readonly id: string;
  readonly key: Uint8Array;
}

/** What a node may open with, and the one that it wraps new keys with. */
export interface MasterKeys {
  readonly current: MasterKey;
  readonly previous: readonly MasterKey[];
}

/**
 * Reads a key: 32 bytes, as 64 hex digits or as Base64. White space around it is left out.
 * @throws MillraceError E_KEY; its message never holds the text
 */
export function parseMasterKey(text: string, from: string): MasterKey {
  const trimmed = text.trim();
  if (HEX.test(trimmed)) return masterKey(Buffer.from(trimmed, "hex"));
  if (BASE64.test(trimmed)) return masterKey(Buffer.from(trimmed, "base64"));
  throw new MillraceError(
    "E_KEY",
    `${from} holds no key (it has ${trimmed.length} characters); a key is 32 bytes as 64 hex digits or as Base64: ` +
      "make one with `openssl rand -hex 32`",
  );
}

export function masterKey(key: Uint8Array): MasterKey {
  if (key.length !== KEY_BYTES) {
    throw new MillraceError("E_KEY", `a key has ${KEY_BYTES} bytes, this one ${key.length}`);
  }
  const id = Buffer.from(hkdfSync("sha256", key, "", "millrace master key id", ID_BYTES)).toString("hex");
  // A copy with a buffer of its own: it crosses threads.
  return { id, key: new Uint8Array(key) };
}
