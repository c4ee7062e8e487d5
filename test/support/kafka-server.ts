import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { freePort } from "./free-port.ts";
import { type Cleanup, makeTempDir } from "./temp-dir.ts";

const START_TIMEOUT_MS = 180_000;
const CLUSTER = "MkU3OEVBNTcwNTJENDM2Qk";

/** Why tests with a Kafka cannot run here, or false: for the option `skip` of a test. */
export function withoutKafka(): string | false {
  const dir = jars();
  if (dir === null)
    return "no Kafka: test/setup-kafka.sh fetches it, and MILLRACE_KAFKA_JARS names where it is";
  return spawnSync("java", ["-version"]).status === 0 ? false : "no Java to run Kafka with";
}

/** A real Kafka broker of its own on 127.0.0.1, in KRaft mode, which can be killed and started again on the same data. */
export class KafkaServer {
  readonly port: number;
  readonly #settings: string;
  readonly #lines: string[] = [];
  #child: ChildProcess | null = null;

  private constructor(port: number, settings: string) {
    this.port = port;
    this.#settings = settings;
  }

  /** Clients are told `advertised` as its port: that of a proxy in front of it. */
  static async start(cleanup: Cleanup, advertised: (port: number) => Promise<number>): Promise<KafkaServer> {
    const dir = makeTempDir(cleanup);
    const [port, controller] = [await freePort(), await freePort()];
    mkdirSync(join(dir, "data"));
    const settings = join(dir, "server.properties");
    writeFileSync(
      settings,
      [
        "process.roles=broker,controller",
        "node.id=1",
        `controller.quorum.voters=1@127.0.0.1:${controller}`,
        `listeners=PLAINTEXT://127.0.0.1:${port},CONTROLLER://127.0.0.1:${controller}`,
        `advertised.listeners=PLAINTEXT://127.0.0.1:${await advertised(port)}`,
        "controller.listener.names=CONTROLLER",
        "listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        `log.dirs=${join(dir, "data")}`,
        "auto.create.topics.enable=false",
        "num.partitions=3",
        "offsets.topic.num.partitions=1",
        "offsets.topic.replication.factor=1",
        "transaction.state.log.replication.factor=1",
        "transaction.state.log.min.isr=1",
        "group.initial.rebalance.delay.ms=0",
        "",
      ].join("\n"),
    );
    const format = ["kafka.tools.StorageTool", "format", "-t", CLUSTER, "-c", settings];
    const formatted = spawnSync("java", [...classPath(), ...format], { encoding: "utf8" });
    if (formatted.status !== 0) throw new Error(`Kafka's storage was not made: ${formatted.stderr}`);
    const server = new KafkaServer(port, settings);
    cleanup.after(() => server.kill());
    await server.start();
    return server;
  }

  /** Starts again after `kill`. */
  async start(): Promise<void> {
    const flags = ["-Xmx256m", "-XX:TieredStopAtLevel=1", ...classPath()];
    const child = spawn("java", [...flags, "kafka.Kafka", this.#settings], {
      stdio: ["ignore", "pipe", "pipe"],
    });
    this.#child = child;
    for (const stream of [child.stdout, child.stderr])
      stream.on("data", (text: Buffer) => {
        this.#lines.push(String(text));
        if (this.#lines.length > 200) this.#lines.splice(0, 100);
      });
    const deadline = performance.now() + START_TIMEOUT_MS;
    while (!(await this.#isReady())) {
      if (child.exitCode !== null || performance.now() > deadline)
        throw new Error(`Kafka did not start:\n${this.#lines.join("")}`);
      await sleep(100);
    }
  }

  async kill(): Promise<void> {
    const child = this.#child;
    this.#child = null;
    if (child === null || child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, "exit");
    child.kill("SIGKILL");
    await ended;
  }

  #isReady(): Promise<boolean> {
    return new Promise((resolve) => {
      const socket = connect(this.port, "127.0.0.1");
      const end = (isReady: boolean): void => {
        socket.destroy();
        resolve(isReady);
      };
      socket.once("connect", () => end(true));
      socket.once("error", () => end(false));
    });
  }
}

function classPath(): string[] {
  return ["-cp", join(jars()!, "*")];
}

function jars(): string | null {
  const dir = process.env.MILLRACE_KAFKA_JARS ?? "/var/tmp/millrace-kafka";
  return existsSync(dir) && readdirSync(dir).some((file) => file.startsWith("kafka_")) ? dir : null;
}
