import { createHash } from "node:crypto";

/** Hexadecimal digits. */
const DIGITS = 16;

/** What a hub knows a block by, beside its place in the log: of its bytes as they are sent. */
export function blockDigest(data: Uint8Array): string {
  return createHash("sha256").update(data).digest("hex").slice(0, DIGITS);
}
