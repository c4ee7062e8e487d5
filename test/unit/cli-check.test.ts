import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { type Cleanup, makeTempDir } from "../support/temp-dir.ts";
import { millrace } from "./cli-stand-in.ts";

function configFile(text: string, cleanup: Cleanup): string {
  const file = join(makeTempDir(cleanup), "millrace.yaml");
  writeFileSync(file, text);
  return file;
}

test("check says that a configuration is valid, with exit code 0", async (context) => {
  const file = configFile("streams:\n  s: { key: device }\n", context);
  const run = await millrace(["check", "-c", file]);
  assert.deepEqual(run, { code: 0, stdout: `${file} is valid\n`, stderr: "" });
});

test("check lists problems as file:line: message, with exit code 1", async (context) => {
  const file = configFile("streams:\n  s:\n    watermark: { bond: 5s }\nsyncs: {}\n", context);
  const run = await millrace(["check", "-c", file]);
  assert.equal(run.code, 1);
  assert.deepEqual(run.stderr.trim().split("\n"), [
    `${file}:3: streams.s.watermark.bond: there is no setting \`bond\` here; did you mean \`bound\`?`,
    `${file}:4: syncs: there is no setting \`syncs\` here; did you mean \`sync\`?`,
  ]);
});

test("check --json gives line, column, path, message and fix", async (context) => {
  const file = configFile("limts: {}\n", context);
  const run = await millrace(["check", "-c", file, "--json"]);
  assert.equal(run.code, 1);
  assert.deepEqual(JSON.parse(run.stdout), {
    valid: false,
    problems: [
      {
        file,
        line: 1,
        column: 1,
        path: "limts",
        message: "there is no setting `limts` here",
        fix: "did you mean `limits`?",
      },
    ],
  });
});

test("check names a file that is not there", async () => {
  const run = await millrace(["check", "-c", "/nowhere/millrace.yaml"]);
  assert.equal(run.code, 1);
  assert.match(run.stderr, /^\/nowhere\/millrace\.yaml:1: there is no such file/);
});

test("check --schema prints a JSON Schema", async () => {
  const run = await millrace(["check", "--schema"]);
  assert.equal(run.code, 0);
  assert.match((JSON.parse(run.stdout) as { $schema: string }).$schema, /json-schema\.org/);
});

test("start refuses a wrong configuration before it touches the data", async (context) => {
  const file = configFile("data: ./x\nqueries:\n  q: 5\n", context);
  const run = await millrace(["-c", file]);
  assert.equal(run.code, 1);
  assert.match(run.stderr, /millrace\.yaml:3: queries\.q: must be a map of settings/);
  assert.equal(run.stdout, "");
});

test("start and hub refuse a level of the log that is none, and say which there are", async (context) => {
  const dir = makeTempDir(context);
  for (const command of ["start", "hub"]) {
    const args = [command, "--data", join(dir, command), "--listen", "127.0.0.1:0"];
    const run = await millrace(args, "", { MILLRACE_LOG: "loud" });
    assert.match(run.stderr, /^millrace: MILLRACE_LOG is loud; make it one of trace, debug, .*silent/);
    assert.equal(run.code, 1);
  }
});

test("check --data looks at a store that has no configuration", async (context) => {
  const dir = join(makeTempDir(context), "data");
  const run = await millrace(["check", "--data", dir]);
  assert.deepEqual(run, { code: 0, stdout: `${dir} holds no store yet\n`, stderr: "" });
  const named = await millrace(["check", "-c", join(dir, "none.yaml"), "--data", dir]);
  assert.match(named.stderr, /there is no such file/);
  assert.equal(named.code, 1);
});

test("a wrong command line has exit code 2 and a hint", async () => {
  const unknown = await millrace(["chekc"]);
  assert.equal(unknown.code, 2);
  assert.match(unknown.stderr, /Did you mean check\?/);
  assert.equal((await millrace(["send"])).code, 2);
  assert.equal((await millrace(["--nonsense"])).code, 2);
});

test("help and version have exit code 0", async () => {
  const help = await millrace(["--help"]);
  assert.equal(help.code, 0);
  for (const command of [
    "start",
    "check",
    "send",
    "query",
    "tail",
    "late",
    "dlq",
    "losses",
    "top",
    "bench",
  ]) {
    assert.match(help.stdout, new RegExp(`^ {2}${command} `, "m"));
  }
  assert.match((await millrace(["--version"])).stdout, /^\d+\.\d+\.\d+\n$/);
});
