import type { ServerResponse } from "node:http";
import type { Door } from "../ingest/door.ts";
import type { Metrics } from "../observe/metrics.ts";
import type { Engine } from "../pipeline/engine.ts";
import type { Explain } from "./failures.ts";
import { PROBLEM_TYPE, problemText } from "./problem.ts";
import { SAFETY_HEADERS } from "./safety-headers.ts";

interface Answer {
  readonly status: 200 | 503;
  readonly type: string;
  readonly text: string;
}

interface ProbeParts {
  readonly engine: Pick<Engine, "status">;
  readonly metrics: Pick<Metrics, "render" | "contentType" | "requestSeconds">;
}

type Probes = ReadonlyMap<string, () => Answer | Promise<Answer>>;

/** What supervisors and Prometheus ask every few seconds, by path. */
export function createProbes({ engine, metrics }: ProbeParts): Probes {
  return new Map<string, () => Answer | Promise<Answer>>([
    ["/healthz", () => json(200, { status: "ok" })],
    [
      "/readyz",
      () => {
        const { isReady } = engine.status();
        return json(isReady ? 200 : 503, { ready: isReady });
      },
    ],
    ["/metrics", async () => ({ status: 200, type: metrics.contentType, text: await metrics.render() })],
  ]);
}

/**
 * The short way to them, so that a node that is only watched over need not load the app. Other methods, and paths with a query, go
 * the long way.
 */
export function probeDoor(parts: ProbeParts, explain: Explain): Door {
  const probes = createProbes(parts);
  const answer = async (route: string, outgoing: ServerResponse): Promise<void> => {
    const end = parts.metrics.requestSeconds.startTimer();
    const { status, type, text } = await attempt(route);
    end({ route, status: String(status) });
    const length = Buffer.byteLength(text);
    outgoing.writeHead(status, { ...SAFETY_HEADERS, "content-type": type, "content-length": length });
    outgoing.end(text);
  };
  const attempt = async (route: string): Promise<Omit<Answer, "status"> & { readonly status: number }> => {
    try {
      return await probes.get(route)!();
    } catch (cause) {
      const problem = explain(cause, route);
      return { status: problem.status, type: PROBLEM_TYPE, text: problemText(problem) };
    }
  };
  return (incoming, outgoing) => {
    const { method, url = "" } = incoming;
    if (method !== "GET" || !probes.has(url)) return false;
    // Who asked may have gone.
    answer(url, outgoing).catch(() => outgoing.destroy());
    return true;
  };
}

function json(status: Answer["status"], body: object): Answer {
  return { status, type: "application/json", text: JSON.stringify(body) };
}
