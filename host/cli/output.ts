/** What a command's exit code says. */
export const EXIT = {
  ok: 0,
  /** The configuration is not valid, or the node refused. */
  failed: 1,
  /** The command line itself is wrong. */
  usage: 2,
  /** There is no node at the address. */
  unreachable: 3,
} as const;
export type ExitCode = (typeof EXIT)[keyof typeof EXIT];

/** Results go to stdout … */
export function print(text: string): void {
  process.stdout.write(`${text}\n`);
}

/** … and everything else to stderr. */
export function warn(text: string): void {
  process.stderr.write(`${text}\n`);
}

/** Sets the exit code; the process ends when its work does. */
export function finish(code: ExitCode): void {
  process.exitCode = code;
}

/** Whoever reads our output may stop, as `head` does: then there is nothing left to say. */
process.stdout.on("error", (cause: NodeJS.ErrnoException) => {
  if (cause.code !== "EPIPE") throw cause;
  process.exit(EXIT.ok);
});
