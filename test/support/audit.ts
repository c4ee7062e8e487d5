import { execFile } from "node:child_process";
import { join } from "node:path";
import type { AuditReport } from "../../host/cli/audit-compare.ts";
import { REPOSITORY_ROOT } from "./node-process.ts";

const CLI_FILE = join(REPOSITORY_ROOT, "host/cli/bin.js");
const TIMEOUT_MS = 240_000;

export interface AuditRun {
  readonly exitCode: number;
  readonly report: AuditReport & { readonly unreadable: number };
}

/** `millrace audit` in a process of its own. */
export function runAudit(edgeUrl: string, hubUrl: string, ...options: readonly string[]): Promise<AuditRun> {
  return run(["audit", "--url", edgeUrl, "--hub", hubUrl, "--json", ...options]);
}

/** The same by its other name. */
export function runDoctor(edgeUrl: string, hubUrl: string): Promise<AuditRun> {
  return run(["doctor", "--url", edgeUrl, "--hub", hubUrl, "--json"]);
}

function run(command: readonly string[]): Promise<AuditRun> {
  const args = [CLI_FILE, ...command];
  return new Promise((resolve, reject) => {
    execFile(process.execPath, args, { timeout: TIMEOUT_MS }, (cause, stdout, stderr) => {
      const code = cause === null ? 0 : cause.code;
      if (typeof code !== "number" || stdout === "") {
        reject(new Error(`millrace audit: ${stderr}`, { cause }));
        return;
      }
      resolve({ exitCode: code, report: JSON.parse(stdout) as AuditRun["report"] });
    });
  });
}
