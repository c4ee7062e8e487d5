import { AwsClient } from "aws4fetch";
import type { PackForm } from "../../../workers/sync.ts";
import type { S3Target } from "../../config/sink-config.ts";
import { failureText, unreachable } from "../failure-text.ts";
import { retryAfterMs } from "../retry-after.ts";
import type { Delivery, OutgoingBatch, Sink } from "../sink.ts";
import type { SinkParts } from "./sink-parts.ts";
import { tablePlace } from "./table-place.ts";

const MAX_ANSWER_CHARACTERS = 4_000;
/** Codes of S3 that say something of the object. All else is of the bucket, of permissions, or of the moment. */
const REJECTED = new Set(["EntityTooLarge", "KeyTooLongError"]);

/**
 * Objects in a bucket, one for each table of a batch, under a name made of the batch's key. What is delivered again is put
 * over what is there, with the same bytes.
 */
export class S3Sink implements Sink {
  readonly name: string;
  readonly form: PackForm;
  readonly #parts: SinkParts<S3Target>;
  readonly #client: AwsClient;
  readonly #base: string;

  constructor(parts: SinkParts<S3Target>) {
    const { endpoint, bucket, region, accessKey, secretKey, sessionToken } = parts.target;
    this.name = parts.name;
    this.form = parts.target.format;
    this.#parts = parts;
    this.#base =
      endpoint === null
        ? `https://${bucket}.s3.${region}.amazonaws.com`
        : `${endpoint.replace(/\/+$/, "")}/${bucket}`;
    this.#client = new AwsClient({
      accessKeyId: accessKey,
      secretAccessKey: secretKey,
      ...(sessionToken === null ? {} : { sessionToken }),
      service: "s3",
      region,
      retries: 0,
    });
  }

  async deliver({ key, tables, rows }: OutgoingBatch, signal: AbortSignal): Promise<Delivery> {
    const { edge, target } = this.#parts;
    const extension = target.format === "parquet" ? "parquet" : "ndjson";
    try {
      for (const table of tables) {
        const place = `${tablePlace(table, edge, key)}.${extension}`;
        const refused = await this.#put(
          target.prefix === "" ? place : `${target.prefix}/${place}`,
          table.body,
          signal,
        );
        if (refused !== null) return refused;
      }
      return { kind: "delivered", stored: rows, isDuplicate: false };
    } catch (cause) {
      return unreachable(cause instanceof TypeError && cause.cause !== undefined ? cause.cause : cause);
    }
  }

  /** Whoever answers is there; what is wrong with a request, a batch is told. */
  async probe(signal: AbortSignal): Promise<boolean> {
    try {
      const response = await this.#client.fetch(this.#base, {
        method: "HEAD",
        signal: this.#limited(signal),
      });
      await response.arrayBuffer();
      return response.status < 500;
    } catch {
      return false;
    }
  }

  async close(): Promise<void> {}

  /** null: it is there. */
  async #put(name: string, body: Uint8Array<ArrayBuffer>, signal: AbortSignal): Promise<Delivery | null> {
    const path = name.split("/").map(encodeURIComponent).join("/");
    const response = await this.#client.fetch(`${this.#base}/${path}`, {
      method: "PUT",
      body,
      headers: {
        "content-type": this.form === "parquet" ? "application/vnd.apache.parquet" : "application/x-ndjson",
      },
      signal: this.#limited(signal),
    });
    const answer = (await response.text()).slice(0, MAX_ANSWER_CHARACTERS);
    // An ETag: what answers 200 may be something else in between, such as a hotel's login page.
    if (response.status === 200 && response.headers.has("etag")) return null;
    const code = /<Code>([^<]*)<\/Code>/.exec(answer)?.[1] ?? "";
    const message = /<Message>([^<]*)<\/Message>/.exec(answer)?.[1] ?? answer.slice(0, 200);
    const reason = failureText(`answered ${response.status} ${code}: ${message}`);
    if (REJECTED.has(code) || response.status === 413) return { kind: "rejected", reason };
    const retryAfter = response.headers.get("retry-after") ?? undefined;
    return { kind: "unreachable", reason, retryAfterMs: retryAfterMs(retryAfter) };
  }

  #limited(signal: AbortSignal): AbortSignal {
    return AbortSignal.any([signal, AbortSignal.timeout(this.#parts.timeoutMs)]);
  }
}
