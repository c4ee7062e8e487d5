import { spawnSync } from "node:child_process";
import { closeSync, mkdirSync, openSync, rmSync, statfsSync, writeSync } from "node:fs";
import { join } from "node:path";
import { type Cleanup, makeTempDir } from "./temp-dir.ts";

const CHUNK = new Uint8Array(64 * 1024).fill(1);

/** A file system of its own in memory, so small that it fills up. */
export class SmallDisk {
  readonly dir: string;

  private constructor(dir: string) {
    this.dir = dir;
  }

  /** null where this user may not mount: mounting needs root. It is unmounted after the test. */
  static mount(bytes: number, cleanup: Cleanup): SmallDisk | null {
    if (process.platform !== "linux") return null;
    let mounted: string | null = null;
    // Asked for before the folder is: what is to be done afterwards is done in this order.
    cleanup.after(() => {
      if (mounted !== null) spawnSync("umount", ["-l", mounted]);
    });
    const dir = join(makeTempDir(cleanup), "disk");
    mkdirSync(dir);
    const args = ["-t", "tmpfs", "-o", `size=${bytes}`, "tmpfs", dir];
    if (spawnSync("mount", args).status !== 0) return null;
    mounted = dir;
    return new SmallDisk(dir);
  }

  get freeBytes(): number {
    const { bavail, bsize } = statfsSync(this.dir);
    return bavail * bsize;
  }

  /** A file of somebody else; as large as fits, where so much does not fit. @returns its bytes */
  take(name: string, bytes: number): number {
    const file = openSync(join(this.dir, name), "w");
    let written = 0;
    try {
      while (written < bytes) written += writeSync(file, CHUNK, 0, Math.min(CHUNK.length, bytes - written));
    } catch (cause) {
      if (!(cause instanceof Error && "code" in cause && cause.code === "ENOSPC")) throw cause;
    } finally {
      closeSync(file);
    }
    return written;
  }

  give(name: string): void {
    rmSync(join(this.dir, name));
  }
}
