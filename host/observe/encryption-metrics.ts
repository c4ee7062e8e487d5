import { Gauge, type Registry } from "prom-client";
import type { Encryption } from "../encryption/encryption.ts";

/** Nothing without encryption. */
export function registerEncryption(
  registers: Registry[],
  encryption: Pick<Encryption, "status"> | undefined,
): void {
  if (encryption === undefined || encryption.status() === null) return;
  new Gauge({
    name: "millrace_encryption_plain_rows",
    help: "Blocks, late groups and dead letters that were stored before there was a key and are yet to be sealed",
    registers,
    collect() {
      this.set(encryption.status()?.plainRows ?? 0);
    },
  });
}
