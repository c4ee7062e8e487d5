/** How a stream of JetStream is made where there is none. */
export interface NatsStreamForm {
  /** `work-queue`: what a consumer has acknowledged goes. `limits`: it stays until `maxAgeUs`, for readers beside the hubs. */
  readonly retention: "work-queue" | "limits";
  readonly maxBytes: number;
  /** null: whatever the age. */
  readonly maxAgeUs: number | null;
}

/** A server sets `max_bytes` apart when the stream is made: a default must fit onto small ones. */
const DEFAULT_BYTES = 1024 ** 3;
/** Where what was read stays, it must go at some time. */
const DEFAULT_LIMITS_AGE_US = 7 * 86_400e6;

/** With the defaults of what is left out. */
export function natsStreamForm(input: {
  readonly retention?: NatsStreamForm["retention"] | undefined;
  readonly maxBytes?: number | undefined;
  readonly maxAge?: number | undefined;
}): NatsStreamForm {
  const { retention = "work-queue", maxBytes = DEFAULT_BYTES } = input;
  const maxAgeUs = input.maxAge ?? (retention === "limits" ? DEFAULT_LIMITS_AGE_US : null);
  return { retention, maxBytes, maxAgeUs };
}
