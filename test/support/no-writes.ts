import { execFileSync } from "node:child_process";
import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { REPOSITORY_ROOT } from "./node-process.ts";
import { type Cleanup, makeTempDir } from "./temp-dir.ts";

/** A data directory whose file system goes read-only and back while a node runs on it. */
export class NoWrites {
  readonly dataDir: string;
  readonly #flag: string;
  readonly #library: string;

  private constructor(dir: string) {
    this.dataDir = join(dir, "data");
    this.#flag = join(dir, "read-only");
    this.#library = join(dir, "no-writes.so");
  }

  /** null where there is no C compiler, or no Linux. */
  static prepare(cleanup: Cleanup): NoWrites | null {
    if (process.platform !== "linux") return null;
    const made = new NoWrites(makeTempDir(cleanup));
    const source = join(REPOSITORY_ROOT, "test/support/no-writes.c");
    try {
      execFileSync("cc", ["-shared", "-fPIC", "-O1", "-o", made.#library, source, "-ldl"]);
    } catch {
      return null;
    }
    return made;
  }

  get environment(): Readonly<Record<string, string>> {
    return { LD_PRELOAD: this.#library, NO_WRITES_DIR: this.dataDir, NO_WRITES_FLAG: this.#flag };
  }

  begin(): void {
    writeFileSync(this.#flag, "");
  }

  end(): void {
    rmSync(this.#flag);
  }
}
