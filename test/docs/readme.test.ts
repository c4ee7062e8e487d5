import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { test } from "node:test";
import { promisify } from "node:util";

const run = promisify(execFile);
const root = new URL("../..", import.meta.url).pathname;
const README_URL = "http://127.0.0.1:7070";

/** The fenced code blocks of a page, in order. */
async function codeBlocks(page: string): Promise<{ language: string; text: string }[]> {
  const text = await readFile(join(root, page), "utf8");
  return [...text.matchAll(/^```(\w+)\n([\s\S]*?)^```$/gm)].map((match) => ({
    language: match[1] ?? "",
    text: match[2] ?? "",
  }));
}

test("the README's curl in and curl out answer as the README says", async (context) => {
  const dir = await mkdtemp(join(tmpdir(), "millrace-readme-"));
  const node = spawn(
    process.execPath,
    ["host/cli/bin.js", "start", "--data", join(dir, "data"), "--listen", "127.0.0.1:0"],
    { cwd: root, stdio: ["ignore", "pipe", "inherit"] },
  );
  context.after(async () => {
    node.kill("SIGKILL");
    await rm(dir, { recursive: true, force: true });
  });
  let url = "";
  for await (const line of createInterface({ input: node.stdout })) {
    const entry: unknown = JSON.parse(line);
    if (typeof entry !== "object" || entry === null || !("msg" in entry) || !("url" in entry)) continue;
    if (entry.msg !== "listening") continue;
    url = String(entry.url);
    break;
  }
  const blocks = await codeBlocks("README.md");
  const [send, read] = blocks.filter((block) => block.language === "sh" && block.text.includes("curl"));
  const expected = blocks.find((block) => block.language === "json");
  assert.ok(send && read && expected, "the README shows a curl in, a curl out and its answer");
  const sent = await run("sh", ["-c", send.text.replaceAll(README_URL, url)]);
  assert.equal((JSON.parse(sent.stdout) as { accepted: number }).accepted, 3);
  const answer = await run("sh", ["-c", read.text.replaceAll(README_URL, url)]);
  assert.equal(answer.stdout.trim(), expected.text.trim());
});

test("the README's configuration passes the check", async (context) => {
  const dir = await mkdtemp(join(tmpdir(), "millrace-readme-"));
  context.after(() => rm(dir, { recursive: true, force: true }));
  const config = (await codeBlocks("README.md")).find((block) => block.language === "yaml");
  assert.ok(config);
  const file = join(dir, "millrace.yaml");
  await writeFile(file, config.text);
  await run(process.execPath, ["host/cli/bin.js", "check", "-c", file], { cwd: root });
});
