import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { promisify } from "node:util";
import { loadKeys } from "../../host/encryption/load-keys.ts";
import { ENVELOPE_BYTES } from "../../workers/seal/envelope.ts";
import { REPOSITORY_ROOT } from "../support/node-process.ts";
import { makeTempDir } from "../support/temp-dir.ts";

const run = promisify(execFile);
const PAGE = readFileSync(join(REPOSITORY_ROOT, "docs/encryption.md"), "utf8");
const blocks = [...PAGE.matchAll(/^ *```(\w+)\n([\s\S]*?)^ *```$/gm)].map(([, language, text = ""]) => ({
  language,
  text,
}));

test("the page's commands make a key that its configurations take", async (context) => {
  const dir = makeTempDir(context);
  const [commands] = blocks.filter(({ language }) => language === "sh");
  assert.ok(commands);
  const [make = "", check = ""] = commands.text.trim().split("\n");
  await run("sh", ["-c", make], { env: { ...process.env, KEY_DIR: dir } });
  const file = join(dir, "key");
  assert.equal(statSync(file).mode & 0o077, 0, "nobody else may read it");
  const { current } = await loadKeys({ key: { kind: "file", file }, previous: [] });
  assert.match(current.id, /^[0-9a-f]{16}$/);
  writeFileSync(`${file}-2027`, readFileSync(file));
  assert.match(check, /^millrace check -c millrace\.yaml$/);
  const configurations = blocks.filter(({ language }) => language === "yaml");
  assert.equal(configurations.length, 2);
  for (const { text } of configurations) {
    const config = join(dir, "millrace.yaml");
    // One of them stands in a list, indented.
    const own = text.startsWith("   ") ? text.replaceAll(/^ {3}/gm, "") : text;
    writeFileSync(config, own.replaceAll("/etc/millrace", dir));
    await run(process.execPath, ["host/cli/bin.js", "check", "-c", config], { cwd: REPOSITORY_ROOT });
  }
});

test("the page says how many bytes a sealed value is longer", () => {
  assert.match(PAGE, new RegExp(`A sealed value is ${ENVELOPE_BYTES} bytes longer`));
});
