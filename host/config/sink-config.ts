import type { Selection } from "../../workers/sync/outgoing-table.ts";
import { type NatsStreamForm, natsStreamForm } from "./nats-stream.ts";
import type { SinkFile } from "./sink-schema.ts";
import type { DeliveryConfig } from "./sync-config.ts";

/** A sink beside the hub: where it is, what of the data it gets, and how it is sent. */
export interface SinkConfig {
  readonly name: string;
  readonly target: SinkTarget;
  readonly selection: Selection;
  readonly delivery: DeliveryConfig;
}

export type SinkTarget = FileTarget | NatsTarget | PostgresTarget | S3Target | KafkaTarget;

/** Files in a directory. */
export interface FileTarget {
  readonly kind: "file";
  readonly dir: string;
  readonly format: "ndjson" | "parquet";
  /** NDJSON in zstd; Parquet always is. */
  readonly isCompressed: boolean;
}

/** A stream of NATS JetStream. */
export interface NatsTarget {
  readonly kind: "nats";
  readonly url: string;
  readonly stream: string;
  /** Of what is published; the edge's name comes behind it. */
  readonly subject: string;
  /** Whether the stream is made where there is none. */
  readonly creates: boolean;
  readonly form: NatsStreamForm;
  readonly user: string | null;
  readonly password: string | null;
  readonly token: string | null;
}

/** A PostgreSQL database. */
export interface PostgresTarget {
  readonly kind: "postgres";
  readonly url: string;
  readonly schema: string;
  /** Whether tables are made where there are none. */
  readonly creates: boolean;
}

/** A bucket of S3 or what speaks like it. */
export interface S3Target {
  readonly kind: "s3";
  /** null: that of AWS. */
  readonly endpoint: string | null;
  readonly bucket: string;
  readonly prefix: string;
  readonly region: string;
  readonly accessKey: string;
  readonly secretKey: string;
  readonly sessionToken: string | null;
  readonly format: "ndjson" | "parquet";
}

/** A topic of Kafka. */
export interface KafkaTarget {
  readonly kind: "kafka";
  readonly brokers: readonly string[];
  readonly topic: string;
  /** A record for each row, or one for each batch as hubs take it. */
  readonly format: "ndjson" | "batch";
  readonly isTls: boolean;
  readonly sasl: {
    readonly mechanism: "PLAIN" | "SCRAM-SHA-256" | "SCRAM-SHA-512";
    readonly username: string;
    readonly password: string;
  } | null;
}

export function buildSink(name: string, input: SinkFile, delivery: DeliveryConfig): SinkConfig {
  const { streams = null, queries = null, send = null } = input;
  return { name, target: buildTarget(input), selection: { streams, queries, kinds: send }, delivery };
}

function buildTarget({ file, nats, postgres, s3, kafka }: SinkFile): SinkTarget {
  if (file !== undefined) {
    const { dir, format = "ndjson", compress } = typeof file === "string" ? { dir: file } : file;
    return { kind: "file", dir, format, isCompressed: format === "ndjson" && compress !== "none" };
  }
  if (nats !== undefined) {
    const { url, ...rest } = typeof nats === "string" ? { url: nats } : nats;
    const { stream = "MILLRACE", subject = "millrace.sync", create = true } = rest;
    const { user = null, password = null, token = null } = rest;
    const form = natsStreamForm(rest);
    return { kind: "nats", url, stream, subject, creates: create, form, user, password, token };
  }
  if (postgres !== undefined) {
    const {
      url,
      schema = "millrace",
      create = true,
    } = typeof postgres === "string" ? { url: postgres } : postgres;
    return { kind: "postgres", url, schema, creates: create };
  }
  if (s3 !== undefined) {
    const { bucket, prefix = "", region = "us-east-1", accessKey, secretKey, format = "parquet" } = s3;
    const { endpoint = null, sessionToken = null } = s3;
    const shared = { endpoint, bucket, prefix, region, accessKey, secretKey, sessionToken, format };
    return { kind: "s3", ...shared };
  }
  const { brokers, topic, format = "ndjson", tls: isTls = false, sasl } = kafka!;
  const known = sasl == null ? null : { mechanism: "PLAIN" as const, ...sasl };
  return { kind: "kafka", brokers, topic, format, isTls, sasl: known as KafkaTarget["sasl"] };
}
