import { Command } from "commander";
import { check } from "./check.ts";
import { start } from "./start.ts";

const program = new Command("millrace").description(
  "Edge stream processor: device events in, durable in SQLite, event-time windows, answers out.",
);

program
  .command("start", { isDefault: true })
  .description("start a node; without a configuration any stream is accepted")
  .option("-c, --config <file>", "configuration (default: millrace.yaml where it exists)")
  .option("--data <dir>", "data directory (default: ./millrace-data)")
  .option("--listen <host:port>", "address (default: 127.0.0.1:7070)")
  .action(start);

program
  .command("check")
  .description("check a configuration: exit code 0 when valid, 1 when not")
  .option("-c, --config <file>", "configuration", "millrace.yaml")
  .option("--json", "print problems as JSON")
  .action(check);

await program.parseAsync();
