import { createPublicKey, generateKeyPairSync } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { MillraceError } from "../../workers/errors.ts";
import { signConfig as sign } from "../config/config-signature.ts";
import { formatProblem } from "../config/problems.ts";
import { checkRemoteDocument } from "../config/remote-document.ts";
import { CommandError } from "./client.ts";
import { EXIT, print } from "./output.ts";

interface SignOptions {
  readonly key?: string;
  readonly for?: string;
  readonly number?: number;
  readonly newKey?: string;
}

const SCOPE = /^(edge|group):[A-Za-z0-9_.-]{1,128}$/;

/** `millrace sign-config`: prints the headers that go with the document to the hub, in the form of `curl -H @FILE`. */
export function signConfig(file: string | undefined, options: SignOptions): void {
  if (options.newKey !== undefined) {
    makeKey(options.newKey);
    return;
  }
  const { key, for: scope, number } = options;
  if (file === undefined || key === undefined || scope === undefined || number === undefined)
    throw new CommandError(
      EXIT.usage,
      "name a document, --key FILE, --for edge:NAME or group:NAME, and --number N",
    );
  if (!SCOPE.test(scope))
    throw new CommandError(EXIT.usage, `--for ${scope} must be edge:NAME or group:NAME`);
  const document = read(file);
  const [kind, name = ""] = scope.split(":");
  const problems = checkRemoteDocument(document, kind === "edge" ? { edge: name } : { group: name });
  if (problems.length > 0) {
    const lines = problems.map((problem) => formatProblem({ ...problem, file }));
    throw new CommandError(EXIT.failed, lines.join("\n"));
  }
  try {
    const signature = sign({ scope, version: number, document }, read(key));
    print(`Millrace-Config-Version: ${number}\nMillrace-Signature: ${signature}`);
  } catch (cause) {
    if (!(cause instanceof MillraceError)) throw cause;
    throw new CommandError(EXIT.failed, `${key}: ${cause.message}`, { cause });
  }
}

/** Prints the public key as sync.config.publicKey takes it. */
function makeKey(file: string): void {
  const { privateKey } = generateKeyPairSync("ed25519");
  try {
    // A key that is there must not be lost.
    writeFileSync(file, privateKey.export({ type: "pkcs8", format: "pem" }), { mode: 0o600, flag: "wx" });
  } catch (cause) {
    const code = cause instanceof Error && "code" in cause ? String(cause.code) : String(cause);
    throw new CommandError(EXIT.failed, `${file} cannot be made (${code})`, { cause });
  }
  print(createPublicKey(privateKey).export({ type: "spki", format: "der" }).toString("base64"));
}

function read(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch (cause) {
    const code = cause instanceof Error && "code" in cause ? String(cause.code) : String(cause);
    throw new CommandError(EXIT.failed, `${file} cannot be read (${code})`, { cause });
  }
}
