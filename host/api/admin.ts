import { createHash, timingSafeEqual } from "node:crypto";
import type { IncomingMessage } from "node:http";
import type { Problem } from "./problem.ts";

const LOOPBACK = /^(::ffff:)?127\.|^::1$/;

/** Why a request may not change the node, or null when it may: with a token whoever has it, without one this machine. */
export function adminRefusal(
  { socket, headers }: IncomingMessage,
  adminToken: string | null,
): Problem | null {
  if (adminToken === null) return LOOPBACK.test(socket.remoteAddress ?? "") ? null : notLocal;
  return isToken(headers.authorization ?? "", adminToken) ? null : noToken;
}

/** Takes as long whatever is wrong. */
function isToken(header: string, token: string): boolean {
  const digest = (text: string): Buffer => createHash("sha256").update(text).digest();
  return timingSafeEqual(digest(header), digest(`Bearer ${token}`));
}

const notLocal: Problem = {
  status: 403,
  code: "E_ADMIN_LOCAL",
  title: "Only from this machine",
  detail:
    "without http.admin.token the configuration is changed from the node's own machine only; set a token",
};
const noToken: Problem = {
  status: 401,
  code: "E_ADMIN_TOKEN",
  title: "Not allowed",
  detail: "send Authorization: Bearer with the token of http.admin.token",
  headers: { "www-authenticate": "Bearer" },
};
