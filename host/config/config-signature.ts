import { createHash, createPrivateKey, createPublicKey, sign, verify } from "node:crypto";
import { MillraceError } from "../../workers/errors.ts";

/** What is signed: a document for an edge or a group, under a number that only grows. */
export interface SignedConfig {
  /** `edge:NAME` or `group:NAME`. */
  readonly scope: string;
  readonly version: number;
  readonly document: string;
}

/** SHA-256 of a document, in hexadecimal. */
export function digestOfDocument(document: string): string {
  return createHash("sha256").update(document).digest("hex");
}

/**
 * Ed25519 (RFC 8032), in Base64.
 * @throws MillraceError E_SIGNING_KEY when the PEM is no private key of Ed25519
 */
export function signConfig(config: SignedConfig, privateKeyPem: string): string {
  const key = readKey(privateKeyPem, createPrivateKey);
  return sign(null, statementOf(config), key).toString("base64");
}

/** @throws MillraceError E_SIGNING_KEY when `publicKey` is none, as PEM or in the Base64 of its DER */
export function isSignedBy(config: SignedConfig, signature: string, publicKey: string): boolean {
  return verify(null, statementOf(config), readPublicKey(publicKey), Buffer.from(signature, "base64"));
}

export function isPublicKey(text: string): boolean {
  try {
    readPublicKey(text);
    return true;
  } catch {
    return false;
  }
}

function readPublicKey(text: string) {
  const isPem = text.includes("-----BEGIN");
  const pem = isPem ? text : `-----BEGIN PUBLIC KEY-----\n${text.trim()}\n-----END PUBLIC KEY-----\n`;
  return readKey(pem, createPublicKey);
}

function readKey<Key extends { readonly asymmetricKeyType?: string }>(
  pem: string,
  read: (pem: string) => Key,
): Key {
  let key: Key | null = null;
  try {
    key = read(pem);
  } catch {
    // Said below: the text itself must not be shown.
  }
  if (key?.asymmetricKeyType === "ed25519") return key;
  throw new MillraceError(
    "E_SIGNING_KEY",
    "this is no key of Ed25519 in PEM; make one with millrace sign-config --new-key FILE",
  );
}

/** Lines that cannot run into each other: neither a scope nor a number has a line feed. */
function statementOf({ scope, version, document }: SignedConfig): Buffer {
  return Buffer.from(`millrace configuration 1\n${scope}\n${version}\n${digestOfDocument(document)}\n`);
}
