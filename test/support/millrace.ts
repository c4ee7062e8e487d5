import { execFile } from "node:child_process";
import { join } from "node:path";
import { REPOSITORY_ROOT } from "./node-process.ts";

export interface Run {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a command to its end. */
export function millrace(...parameters: string[]): Promise<Run> {
  const file = join(REPOSITORY_ROOT, "host/cli/bin.js");
  return new Promise((resolve) => {
    execFile(process.execPath, [file, ...parameters], (cause, stdout, stderr) =>
      resolve({ code: cause === null ? 0 : Number(cause.code), stdout, stderr }),
    );
  });
}
