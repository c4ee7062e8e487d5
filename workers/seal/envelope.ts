import { createCipheriv, createDecipheriv, type KeyObject, randomFillSync } from "node:crypto";

/**
 * AES-256-GCM as NIST SP 800-38D has it: nonces of 96 random bits, tags of 128 bits.
 *
 * | bytes | what                                     |
 * | ----- | ---------------------------------------- |
 * | 3     | `MRS`                                    |
 * | 1     | version, 1                               |
 * | 4     | number of the data key, little-endian    |
 * | 12    | nonce                                    |
 * | n     | ciphertext                               |
 * | 16    | tag                                      |
 *
 * The first 8 bytes and the place are authenticated with it. Nothing that the store keeps in the plain begins like this:
 * blocks begin with `MRBK`, zstd frames with 28 B5 2F FD.
 */
const CIPHER = "aes-256-gcm";
const MAGIC = 0x01_53_52_4d;
const HEAD_BYTES = 8;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
export const ENVELOPE_BYTES = HEAD_BYTES + NONCE_BYTES + TAG_BYTES;
/** Random bytes are drawn for so many nonces at once: one by one they cost as much as a small seal. */
const NONCES_DRAWN = 1_024;

const drawn = Buffer.alloc(NONCES_DRAWN * NONCE_BYTES);
let used = drawn.length;

function nonce(): Buffer {
  if (used === drawn.length) {
    randomFillSync(drawn);
    used = 0;
  }
  used += NONCE_BYTES;
  return drawn.subarray(used - NONCE_BYTES, used);
}

export function isEnvelope(bytes: Uint8Array): boolean {
  return bytes.length >= ENVELOPE_BYTES && view(bytes).readUInt32LE(0) === MAGIC;
}

/** Of the data key. Only for what `isEnvelope`. */
export function keyIdOf(envelope: Uint8Array): number {
  return view(envelope).readUInt32LE(4);
}

export function sealBytes(key: KeyObject, keyId: number, place: string, plain: Uint8Array): Buffer {
  // Of the pool when it is small: a buffer of its own costs more than the cipher.
  const envelope = Buffer.allocUnsafe(ENVELOPE_BYTES + plain.length);
  envelope.writeUInt32LE(MAGIC, 0);
  envelope.writeUInt32LE(keyId, 4);
  const iv = nonce();
  envelope.set(iv, HEAD_BYTES);
  const cipher = createCipheriv(CIPHER, key, iv, { authTagLength: TAG_BYTES });
  cipher.setAAD(bound(envelope, place));
  // Counter mode: as many bytes come out as go in, and none with the end.
  envelope.set(cipher.update(plain), HEAD_BYTES + NONCE_BYTES);
  cipher.final();
  envelope.set(cipher.getAuthTag(), envelope.length - TAG_BYTES);
  return envelope;
}

/** null when it was not sealed with this key for this place, or changed since. */
export function openBytes(key: KeyObject, place: string, envelope: Uint8Array): Buffer | null {
  const bytes = view(envelope);
  const body = HEAD_BYTES + NONCE_BYTES;
  const decipher = createDecipheriv(CIPHER, key, bytes.subarray(HEAD_BYTES, body), {
    authTagLength: TAG_BYTES,
  });
  decipher.setAAD(bound(bytes, place));
  decipher.setAuthTag(bytes.subarray(bytes.length - TAG_BYTES));
  const plain = decipher.update(bytes.subarray(body, bytes.length - TAG_BYTES));
  try {
    decipher.final();
    return plain;
  } catch {
    // What it says is only that the tag is wrong.
    return null;
  }
}

function bound(envelope: Buffer, place: string): Buffer {
  const bytes = Buffer.allocUnsafe(HEAD_BYTES + Buffer.byteLength(place));
  envelope.copy(bytes, 0, 0, HEAD_BYTES);
  bytes.write(place, HEAD_BYTES);
  return bytes;
}

function view(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
