import { MillraceError } from "../../workers/errors.ts";
import type { RemoteVersion } from "../pipeline/query-set.ts";
import type { RemoteReport } from "./remote-state.ts";

export interface OfferedConfig extends RemoteVersion {
  readonly document: string;
  readonly signature: string | null;
}

export type PollAnswer =
  | { readonly kind: "offered"; readonly config: OfferedConfig }
  /** One of those that the edge knows. */
  | { readonly kind: "unchanged" }
  /** The hub holds none for this edge. */
  | { readonly kind: "none" };

export interface HubAddress {
  readonly url: string;
  readonly token: string | null;
  readonly timeoutMs: number;
}

const MAX_BYTES = 1024 * 1024;

/** What an edge asks its hub, and tells it, of configurations. Calls reject when the hub does not answer as one. */
export class ConfigClient {
  readonly #edge: string;
  readonly #address: () => HubAddress;

  /** `address`: as it is at the moment. */
  constructor(edge: string, address: () => HubAddress) {
    this.#edge = edge;
    this.#address = address;
  }

  async poll(known: readonly string[], signal: AbortSignal): Promise<PollAnswer> {
    const headers = known.length === 0 ? {} : { "if-none-match": known.join(", ") };
    const response = await this.#send("GET", "", headers, null, signal);
    if (response.status === 304) return { kind: "unchanged" };
    if (response.status === 404 && (await isProblem(response, "E_NO_CONFIG"))) return { kind: "none" };
    if (response.status !== 200) throw await unexpected(response);
    const scope = response.headers.get("millrace-config-scope");
    const version = Number(response.headers.get("millrace-config-version"));
    const etag = response.headers.get("etag");
    if (scope === null || etag === null || !Number.isSafeInteger(version) || version < 1)
      throw new MillraceError("E_REMOTE_ANSWER", "answered 200, but not as a hub does");
    const signature = response.headers.get("millrace-signature");
    return {
      kind: "offered",
      config: { scope, version, etag, signature, document: await readText(response) },
    };
  }

  async report(report: RemoteReport, signal: AbortSignal): Promise<void> {
    const headers = { "content-type": "application/json" };
    const response = await this.#send("POST", "/state", headers, JSON.stringify(report), signal);
    if (response.status !== 204) throw await unexpected(response);
  }

  #send(
    method: string,
    path: string,
    headers: Readonly<Record<string, string>>,
    body: string | null,
    signal: AbortSignal,
  ): Promise<Response> {
    const { url, token, timeoutMs } = this.#address();
    const target = `${url.replace(/\/$/, "")}/v1/config/${encodeURIComponent(this.#edge)}${path}`;
    return fetch(target, {
      method,
      body,
      redirect: "manual",
      headers: {
        ...headers,
        "millrace-edge": this.#edge,
        ...(token === null ? {} : { authorization: `Bearer ${token}` }),
      },
      signal: AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]),
    });
  }
}

/** No more than a configuration may have, whoever answers. */
async function readText(response: Response): Promise<string> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of response.body ?? []) {
    bytes += chunk.length;
    if (bytes > MAX_BYTES)
      throw new MillraceError("E_REMOTE_ANSWER", `a configuration has ${MAX_BYTES} bytes at most`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString();
}

async function isProblem(response: Response, code: string): Promise<boolean> {
  return (await readText(response)).includes(`"code":"${code}"`);
}

async function unexpected(response: Response): Promise<MillraceError> {
  const detail = (await readText(response)).slice(0, 300);
  return new MillraceError("E_REMOTE_ANSWER", `answered ${response.status}: ${detail}`);
}
