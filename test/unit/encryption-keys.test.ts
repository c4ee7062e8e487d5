import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { splitCommand } from "../../host/config/command-line.ts";
import type { KeySource } from "../../host/config/encryption-schema.ts";
import { parseConfig } from "../../host/config/load.ts";
import { loadKeys } from "../../host/encryption/load-keys.ts";
import { MillraceError } from "../../workers/errors.ts";
import { masterKey } from "../../workers/seal/master-key.ts";
import { makeTempDir } from "../support/temp-dir.ts";

const KEY = randomBytes(32);
const HEX = KEY.toString("hex");
const { id: ID } = masterKey(KEY);
/** Of programs that are to end by themselves: a Node takes its time to start on a machine that many share. */
const PATIENCE_MS = 120_000;

const idOf = async (key: KeySource, limitMs = PATIENCE_MS): Promise<string> =>
  (await loadKeys({ key, previous: [] }, limitMs)).current.id;
const command = (...words: string[]): KeySource => ({ kind: "command", command: words });
const node = (program: string): KeySource => command(process.execPath, "-e", program);

async function refuses(key: KeySource, code: string, message: RegExp, limitMs = PATIENCE_MS): Promise<void> {
  await assert.rejects(idOf(key, limitMs), (error: unknown) => {
    assert.ok(error instanceof MillraceError, String(error));
    assert.equal(error.code, code);
    assert.match(error.message, message);
    assert.doesNotMatch(`${error.message} ${String(error.cause)}`, new RegExp(HEX));
    return true;
  });
}

test("the same key comes from a text, a file and a program, as hex, Base64 or bytes", async (context) => {
  const file = join(makeTempDir(context), "key");
  assert.equal(await idOf({ kind: "text", text: HEX }), ID);
  for (const content of [HEX, `${KEY.toString("base64")}\n`, KEY]) {
    writeFileSync(file, content);
    assert.equal(await idOf({ kind: "file", file }), ID);
    assert.equal(await idOf(command("cat", file)), ID);
  }
  const { previous } = await loadKeys({
    key: { kind: "text", text: "00".repeat(32) },
    previous: [{ kind: "file", file }],
  });
  assert.deepEqual(
    previous.map(({ id }) => id),
    [ID],
  );
});

test("a key that cannot be had is refused with where it was to come from, and what was said is never the key", async (context) => {
  const dir = makeTempDir(context);
  const file = join(dir, "key");
  writeFileSync(file, "x".repeat(5_000));
  await refuses({ kind: "file", file }, "E_KEY_FILE", /5000 bytes.*encryption\.keyFile/);
  await refuses({ kind: "file", file: join(dir, "none") }, "E_KEY_FILE", /none cannot be read/);
  writeFileSync(file, HEX.slice(2));
  await refuses({ kind: "file", file }, "E_KEY", /holds no key \(it has 62 characters\)/);
  await refuses(command("/nowhere/program"), "E_KEY_COMMAND", /is not there/);
  await refuses(command("sh", "-c", "echo no TPM >&2; exit 3"), "E_KEY_COMMAND", /sh ended with 3: no TPM/);
  await refuses(node("setInterval(() => {}, 1000)"), "E_KEY_COMMAND", /did not end within 0\.3 s/, 300);
  await refuses(
    node("process.stdout.write('x'.repeat(100_000))"),
    "E_KEY_COMMAND",
    /printed more than 4096 bytes/,
  );
  await refuses(node(`console.log('${HEX}'); process.exit(1)`), "E_KEY_COMMAND", /ended with 1/);
  await refuses(node("console.log('hello')"), "E_KEY", /what .* printed holds no key/);
});

test("a command is words, not a shell", async () => {
  assert.deepEqual(splitCommand(`tpm2_unseal -c 0x81 "a b" 'c"d' e"f g"h ""`), [
    "tpm2_unseal",
    "-c",
    "0x81",
    "a b",
    'c"d',
    "ef gh",
    "",
  ]);
  assert.deepEqual(splitCommand("a; b | $(c) `d`"), ["a;", "b", "|", "$(c)", "`d`"]);
  assert.equal(splitCommand("a 'b"), null);
  assert.deepEqual(splitCommand("  "), []);
});

function check(text: string, environment: Record<string, string> = {}): string {
  const parsed = parseConfig(text, "f", {}, environment);
  if (parsed.ok) return JSON.stringify(parsed.config.encryption ?? null);
  return parsed.problems
    .map(({ line, path, message, fix }) => `${line} ${path}: ${message}; ${fix}`)
    .join("\n");
}

test("the section says where keys are; what is wrong is named with its line", (context) => {
  const file = join(makeTempDir(context), "key");
  writeFileSync(file, HEX);
  assert.equal(check(""), "null");
  assert.deepEqual(JSON.parse(check(`encryption: { key: '\${K}' }`, { K: HEX })), {
    key: { kind: "text", text: HEX },
    previous: [],
  });
  assert.deepEqual(
    JSON.parse(
      check(`encryption:\n  keyCommand: tpm2_unseal -c 0x81010001\n  previous: [ { keyFile: ${file} } ]`),
    ),
    {
      key: { kind: "command", command: ["tpm2_unseal", "-c", "0x81010001"] },
      previous: [{ kind: "file", file }],
    },
  );
  assert.match(check("node: {}\nencryption: { key: abc }"), /^2 encryption\.key: .*32 bytes as 64 hex/);
  assert.doesNotMatch(check(`encryption: { key: ${HEX}0 }`), new RegExp(HEX));
  assert.match(check("encryption: {}"), /^1 encryption: must have one of key, keyFile and keyCommand/);
  assert.match(check(`encryption: { key: ${HEX}, keyFile: ${file} }`), /must have one of/);
  assert.match(
    check(`encryption: { key: ${HEX}, previous: [ {} ] }`),
    /encryption\.previous\.0: must have one of/,
  );
  assert.match(
    check('encryption: { keyCommand: "a \'b" }'),
    /keyCommand: must be a program and its arguments/,
  );
  assert.match(check("encryption: { keyFile: /nowhere/key }"), /^1 encryption\.keyFile: .*cannot be read/);
  assert.match(check("encryption: { keyFile: key }"), /must be a file by its whole path/);
  assert.match(check("encryption: { keyfile: x }"), /keyFile/);
  writeFileSync(file, "short");
  assert.match(check(`encryption: { keyFile: ${file} }`), /encryption\.keyFile: .*holds no key/);
});
