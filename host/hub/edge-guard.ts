import { createHash, timingSafeEqual } from "node:crypto";
import type { IncomingMessage } from "node:http";
import type { Problem } from "../api/problem.ts";
import { isStreamName } from "../api/problem.ts";

/** Who asks, as far as the request says. */
export interface Caller {
  /** `Millrace-Edge`. */
  readonly edge: string | undefined;
  /** `Authorization`. */
  readonly authorization: string | undefined;
  readonly remoteAddress: string | undefined;
  /** `Millrace-Via`: the relays it came through, the last one at the end. */
  readonly via?: string | undefined;
}

/** Whom a hub lets in. */
export interface EdgeAccess {
  readonly tokens: ReadonlyMap<string, string> | null;
  /** By relay: the edges that it may speak for; null: any. */
  readonly relays?: ReadonlyMap<string, ReadonlySet<string> | null>;
}

export function callerOf({ headers, socket }: IncomingMessage): Caller {
  const one = (name: string): string | undefined => {
    const value = headers[name];
    return Array.isArray(value) ? undefined : value;
  };
  return {
    edge: one("millrace-edge"),
    authorization: headers.authorization,
    remoteAddress: socket.remoteAddress,
    via: one("millrace-via"),
  };
}

/** The relays of `Millrace-Via`, the first one first. */
export function hopsOf(via: string | undefined): string[] {
  return (via ?? "").split(",").flatMap((hop) => (hop.trim() === "" ? [] : [hop.trim()]));
}

export type EdgeCheck =
  | { readonly ok: true; readonly edge: string }
  | { readonly ok: false; readonly problem: Problem };

/** Tells whether a request may come from the edge that it names. */
export function checkEdge({ tokens, relays }: EdgeAccess, caller: Caller): EdgeCheck {
  const { edge, authorization, remoteAddress } = caller;
  if (edge === undefined || !isStreamName(edge)) {
    const detail = "the header Millrace-Edge must name the edge: 1 to 128 letters, digits, _ . or -";
    return refuse({ status: 400, code: "E_EDGE_NAME", title: "No edge named", detail });
  }
  if (tokens === null) {
    if (isLoopback(remoteAddress)) return { ok: true, edge };
    const detail = "this hub has no tokens and takes edges on its own machine alone; give it tokens:";
    return refuse({ status: 403, code: "E_NO_TOKENS", title: "No tokens set", detail });
  }
  const brought = /^Bearer (.+)$/i.exec(authorization ?? "")?.[1];
  const relay = hopsOf(caller.via).at(-1);
  if (relay !== undefined && !speaksFor(relays?.get(relay), edge)) {
    const detail = `${relay} may not send for edge ${edge}; name the edge under relays.${relay} of the hub`;
    return refuse({ status: 403, code: "E_RELAY", title: "Not a relay of this edge", detail });
  }
  const token = tokens.get(relay ?? edge);
  if (brought !== undefined && token !== undefined && isSame(brought, token)) return { ok: true, edge };
  const who = relay ?? edge;
  const detail = `the token is not that of edge ${who}; sync.token of the edge must be tokens.${who} of the hub`;
  const headers = { "www-authenticate": "Bearer" };
  return refuse({ status: 401, code: "E_TOKEN", title: "Not allowed", detail, headers });
}

function speaksFor(edges: ReadonlySet<string> | null | undefined, edge: string): boolean {
  return edges === null || (edges?.has(edge) ?? false);
}

export function isLoopback(address: string | undefined): boolean {
  return address !== undefined && /^(127\.|::1$|::ffff:127\.)/.test(address);
}

/** In a time that does not tell how much of it is right. */
function isSame(a: string, b: string): boolean {
  const digest = (text: string): Buffer => createHash("sha256").update(text).digest();
  return timingSafeEqual(digest(a), digest(b));
}

function refuse(problem: Problem): EdgeCheck {
  return { ok: false, problem };
}
