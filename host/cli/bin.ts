import { readFileSync } from "node:fs";
import { Command, InvalidArgumentError, Option } from "commander";
import { MillraceError } from "../../workers/errors.ts";
import { PACKAGE_ROOT } from "../../workers/package-root.ts";
import { CommandError } from "./client.ts";
import { EXIT, finish, warn } from "./output.ts";

/** Commands are imported when they run: `check` needs no server, `send` no SQLite. */

const EPILOGUE = `
Without a command, a node is started. Exit codes: 0 done, 1 failed or refused, 2 wrong command line, 3 no node there.`;

const url = (): Option =>
  new Option("--url <url>", "the node (default: $MILLRACE_URL, else http://127.0.0.1:7070)");
const json = (): Option => new Option("--json", "print JSON, one document a line");
const limit = (): Option => new Option("--limit <rows>", "at most so many rows").argParser(positive);
const config = (): Option => new Option("-c, --config <file>", "configuration (default: millrace.yaml)");

function createProgram(): Command {
  const program = new Command("millrace")
    .description(
      "Edge stream processor: device events in, durable in SQLite, event-time windows, answers out.",
    )
    .version(readVersion())
    .showHelpAfterError("(--help shows what there is)")
    .exitOverride()
    .addHelpText("after", EPILOGUE);
  addNodeCommands(program);
  addSend(program);
  addHistory(program);
  addReaders(program);
  addBench(program);
  return program;
}

function addNodeCommands(program: Command): void {
  program
    .command("start")
    .description("start a node; without a configuration any stream is accepted")
    .addOption(config())
    .option("--data <dir>", "data directory (default: ./millrace-data)")
    .option("--listen <host:port>", "address (default: 127.0.0.1:7070)")
    .action(async (options) => (await import("./start.ts")).start(options));
  program
    .command("hub")
    .description("start a hub, which takes what edges send and shows the fleet")
    .addOption(new Option("-c, --config <file>", "configuration (default: hub.yaml)"))
    .option("--data <dir>", "data directory (default: ./millrace-hub-data)")
    .option("--listen <host:port>", "address (default: 127.0.0.1:7080)")
    .action(async (options) => (await import("./hub.ts")).hub(options));
  program
    .command("check")
    .description("check a configuration, offline")
    .addOption(config())
    .addOption(json())
    .option("--schema", "print the configuration's JSON Schema, for editors")
    .option("--data <dir>", "look at the store of a stopped node too")
    .action(async (options) => (await import("./check.ts")).check(options));
  program
    .command("sign-config [file]")
    .description("sign a configuration that edges take from their hub, offline; or make a key for it")
    .option("--key <file>", "the private key (Ed25519, PEM)")
    .option("--for <scope>", "edge:NAME or group:NAME")
    .addOption(new Option("--number <n>", "its version: greater than all before").argParser(positive))
    .option("--new-key <file>", "make a private key, and print the public one for sync.config.publicKey")
    .action(async (file, options) => (await import("./sign-config.ts")).signConfig(file, options));
  program
    .command("doctor")
    .description(
      "look at the store of a stopped node: every page, block, state and count; or, with --hub, at what a hub has of a running one",
    )
    .option("--data <dir>", "data directory (default: of the configuration, else ./millrace-data)")
    .addOption(config())
    .option("--repair", "put right what can be")
    .addOption(
      new Option("--hub <url>", "compare with this hub, as audit does").conflicts([
        "data",
        "config",
        "repair",
      ]),
    )
    .addOption(url())
    .addOption(json())
    .action(async ({ hub, ...options }) =>
      hub === undefined
        ? (await import("./doctor.ts")).doctor(options)
        : (await import("./audit.ts")).audit({ hub, ...options }),
    );
}

function addHistory(program: Command): void {
  program
    .command("backup <target>")
    .description("copy the data directory, also of a running node, into a new directory, and verify the copy")
    .option("--data <dir>", "data directory (default: of the configuration, else ./millrace-data)")
    .addOption(config())
    .addOption(json())
    .action(async (target, options) => (await import("./backup.ts")).backup(target, options));
  program
    .command("replay <stream>")
    .description("run stored events through a query, into a file or a stream")
    .option("--query <name>", "the query; of the configuration, or of the one in force in the data directory")
    .option("--from <time>", "events at or after it, and windows that start there (ISO 8601)")
    .option("--to <time>", "events before it, and windows that end by then")
    .option("--into <file>", "write rows as NDJSON (default: -, stdout)")
    .option("--into-stream <stream>", "send rows as events to a stream of the node")
    .option("--data <dir>", "data directory to read (default: of the configuration, else ./millrace-data)")
    .addOption(config())
    .addOption(url())
    .addOption(json())
    .action(async (stream, options) => (await import("./replay.ts")).replay(stream, options));
  program
    .command("export [stream]")
    .description("write a stream's events, or a query's results, to a file")
    .option("--query <name>", "results of this query")
    .addOption(
      new Option("--format <format>", "(default: by the file's name)").choices(["parquet", "csv", "ndjson"]),
    )
    .requiredOption("-o, --output <file>", "where to; -: stdout (not for parquet)")
    .option("--from <time>", "at or after it (ISO 8601)")
    .option("--to <time>", "before it")
    .option("--key <key>", "of this key only")
    .addOption(url())
    .addOption(json())
    .action(async (stream, options) => (await import("./export.ts")).exportRows(stream, options));
}

function addSend(program: Command): void {
  program
    .command("send <stream> [file...]")
    .description(
      "send events from files, patterns of files, or stdin (-): NDJSON, JSON or CSV with a header line",
    )
    .addOption(url())
    .addOption(
      new Option("--rate <events>", "events a second (default: as fast as they are taken)").argParser(
        positive,
      ),
    )
    .option("--end", "say that no more is to come: closes all windows")
    .addOption(
      new Option("--format <format>", "(default: by name or content)").choices(["ndjson", "json", "csv"]),
    )
    .addOption(
      new Option("--batch <events>", "events in a request (default: 4000, less with --rate)").argParser(
        positive,
      ),
    )
    .option("--name <name>", "names what comes from stdin, so that a second run sends nothing twice")
    .option("--again", "send even what was sent before")
    .option("--patience <duration>", "how long a node may be away or full", "60s")
    .addOption(json())
    .action(async (stream, files, options) => (await import("./send.ts")).send(stream, files, options));
}

function addBench(program: Command): void {
  const count = (flags: string, what: string): Option => new Option(flags, what).argParser(positive);
  program
    .command("bench")
    .description("measure a node of its own, or a running one, under generated events")
    .addOption(count("--seconds <n>", "for how long").default(10))
    .addOption(count("--rate <events>", "events a second (default: as fast as they are acknowledged)"))
    .addOption(count("--devices <n>", "devices that send").default(10_000))
    .addOption(count("--batch <events>", "events in a request").default(4_000))
    .addOption(count("--connections <n>", "requests under way at once").default(6))
    .option("--profile", "what an event costs by stage")
    .option("--data <dir>", "where the node's data is meanwhile (default: the system's temporary directory)")
    .addOption(new Option("--url <url>", "a running node instead: the events stay there").conflicts("data"))
    .option("--stream <stream>", "with --url: the stream they go into (default: bench)")
    .addOption(json())
    .action(async (options) => (await import("./bench.ts")).bench(options));
}

function addReaders(program: Command): void {
  program
    .command("query [name]")
    .description("print a query's results; without a name, list the queries")
    .option("--from <time>", "windows that end after it (ISO 8601)")
    .option("--to <time>", "windows that start before it")
    .option("--key <key>", "of this key only")
    .addOption(new Option("--kind <kind>", "of this kind only").choices(["early", "on-time", "late"]))
    .addOption(new Option("--revisions [which]", "latest or all").choices(["latest", "all"]).preset("all"))
    .option("--follow", "go on with new results as they come")
    .addOption(limit())
    .addOption(url())
    .addOption(json())
    .action(async (name, options) => (await import("./query.ts")).query(name, options));
  program
    .command("tail <stream|query>")
    .description("print results as they come; of a stream, those of all its queries")
    .addOption(url())
    .addOption(json())
    .action(async (name, options) => (await import("./tail.ts")).tail(name, options));
  program
    .command("late <stream>")
    .description(
      "list events that came too late, or from a clock that is ahead; --apply corrects their windows",
    )
    .option("--apply", "correct the windows that late events belong to")
    .option("--clock-skew", "with --apply: also take in events from clocks that are ahead")
    .addOption(limit())
    .addOption(url())
    .addOption(json())
    .action(async (stream, options) => (await import("./late.ts")).late(stream, options));
  program
    .command("clocks <stream>")
    .description("list devices by how far their clocks are ahead of the node's")
    .addOption(limit())
    .addOption(url())
    .addOption(json())
    .action(async (stream, options) => (await import("./clocks.ts")).clocks(stream, options));
  program
    .command("alerts")
    .description("list alerts and how they stand")
    .option("--alert <name>", "only this one")
    .addOption(new Option("--state <state>", "in this state only").choices(["pending", "firing", "resolved"]))
    .option("--from <time>", "alerts that went on at or after it (ISO 8601)")
    .option("--to <time>", "alerts that began before it")
    .option("--key <key>", "of this key only")
    .addOption(new Option("--revisions [which]", "latest or all").choices(["latest", "all"]).preset("all"))
    .addOption(limit())
    .addOption(url())
    .addOption(json())
    .action(async (options) => (await import("./alerts.ts")).alerts(options));
  for (const [name, what] of [
    ["dlq", "list lines that could not be taken, and why"],
    ["losses", "list what was given up"],
  ] as const) {
    program
      .command(name)
      .description(what)
      .option("--stream <stream>", "of this stream only")
      .addOption(limit())
      .addOption(url())
      .addOption(json())
      .action(async (options) => {
        if (name === "dlq") return (await import("./dlq.ts")).dlq(options);
        return (await import("./losses.ts")).losses(options);
      });
  }
  program
    .command("audit")
    .description("compare what a node sent with what its hub holds, hour by hour")
    .requiredOption("--hub <url>", "the hub")
    .option("--stream <stream>", "of this stream only")
    .option("--from <time>", "hours of event time from it on (ISO 8601)")
    .option("--to <time>", "hours before it")
    .addOption(url())
    .addOption(json())
    .action(async (options) => (await import("./audit.ts")).audit(options));
  program
    .command("top")
    .description("watch streams, queries and the node's state")
    .option("--once", "print once")
    .addOption(url())
    .addOption(json())
    .action(async (options) => (await import("./top.ts")).top(options));
}

function positive(text: string): number {
  const value = Number(text);
  if (Number.isSafeInteger(value) && value > 0) return value;
  throw new InvalidArgumentError("It must be a whole number above 0.");
}

function readVersion(): string {
  const { version } = JSON.parse(readFileSync(new URL(`${PACKAGE_ROOT}package.json`), "utf8")) as {
    version: unknown;
  };
  return String(version);
}

/** `millrace --data DIR` is `millrace start --data DIR`. */
function withCommand(args: readonly string[]): readonly string[] {
  const [first] = args;
  const isProgramOption = first !== undefined && ["-h", "--help", "-V", "--version"].includes(first);
  return first === undefined || (first.startsWith("-") && !isProgramOption) ? ["start", ...args] : args;
}

try {
  await createProgram().parseAsync(withCommand(process.argv.slice(2)), { from: "user" });
} catch (cause) {
  if (cause instanceof CommandError) {
    warn(`millrace: ${cause.message}`);
    finish(cause.exitCode);
    // A node that did not start may have left threads behind.
    process.exit();
  }
  if (cause instanceof MillraceError) {
    warn(`millrace: ${cause.message} (${cause.code})`);
    process.exit(EXIT.failed);
  }
  // The command line's parser has already said what is wrong.
  if (!(cause instanceof Error && "exitCode" in cause && typeof cause.exitCode === "number")) throw cause;
  finish(cause.exitCode === 0 ? EXIT.ok : EXIT.usage);
}
