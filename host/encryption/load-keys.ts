import { execFile } from "node:child_process";
import { MillraceError } from "../../workers/errors.ts";
import { type MasterKey, type MasterKeys, parseMasterKey } from "../../workers/seal/master-key.ts";
import type { EncryptionConfig, KeySource } from "../config/encryption-schema.ts";
import { keyOf, MAX_KEY_TEXT_BYTES, readKeyFile } from "../config/key-files.ts";

const COMMAND_LIMIT_MS = 10_000;
/** Of what a command that failed says, in the message. */
const SHOWN_CHARACTERS = 300;

/** @throws MillraceError E_KEY, E_KEY_FILE, E_KEY_COMMAND, with where the key was to come from and never the key */
export async function loadKeys(
  { key, previous }: EncryptionConfig,
  limitMs = COMMAND_LIMIT_MS,
): Promise<MasterKeys> {
  const [current, ...older] = await Promise.all([key, ...previous].map((source) => loadKey(source, limitMs)));
  return { current: current!, previous: older };
}

async function loadKey(source: KeySource, limitMs: number): Promise<MasterKey> {
  switch (source.kind) {
    case "text":
      return parseMasterKey(source.text, "encryption.key");
    case "file":
      return readKeyFile(source.file);
    case "command":
      return keyOf(await run(source.command, limitMs), `what ${source.command[0]} printed`);
  }
}

function run([program = "", ...parameters]: readonly string[], timeout: number): Promise<Buffer> {
  const options = {
    timeout,
    maxBuffer: MAX_KEY_TEXT_BYTES,
    encoding: "buffer",
    killSignal: "SIGKILL",
  } as const;
  return new Promise((resolve, reject) => {
    const child = execFile(program, parameters, options, (error, stdout, stderr) => {
      if (error === null) return resolve(stdout);
      const said = stderr.toString().trim().slice(0, SHOWN_CHARACTERS);
      const reason = error.killed === true ? `did not end within ${timeout / 1_000} s` : explain(error);
      const message = `keyCommand ${program} ${reason}${said === "" ? "" : `: ${said}`}; run it by hand as the node's user`;
      // Not with its cause, which holds what the program printed.
      reject(new MillraceError("E_KEY_COMMAND", message));
    });
    child.stdin?.end();
  });
}

function explain({ code }: { readonly code?: string | number | null }): string {
  if (code === "ENOENT") return "is not there";
  if (code === "EACCES") return "may not be run";
  if (code === "ERR_CHILD_PROCESS_STDIO_MAXBUFFER") return `printed more than ${MAX_KEY_TEXT_BYTES} bytes`;
  return typeof code === "number" ? `ended with ${code}` : `failed (${String(code)})`;
}
