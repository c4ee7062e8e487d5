import { BodyReader } from "../ingest/body.ts";
import { type Door, ingestDoor, ingestExpress } from "../ingest/door.ts";
import type { ExpressIngest } from "../ingest/express-way.ts";
import type { App, AppParts } from "./app.ts";
import { explainFailures } from "./failures.ts";
import { probeDoor } from "./probes.ts";

/** Where requests come in. */
export interface Entrance {
  /** The short ways, asked before the app: for events, and for what watches over the node. */
  readonly door: Door;
  /** A shorter one, for plain requests for events, read from the socket itself. */
  readonly express: ExpressIngest;
  /** Everything else. Loaded when it is first asked, for many nodes never are: it costs 9 MB and 80 ms of CPU. */
  readonly app: () => Promise<App>;
}

/** `addRoutes` adds what is not there on every node. */
export function createEntrance(
  parts: AppParts,
  addRoutes: (app: App) => Promise<void> = () => Promise.resolve(),
): Entrance {
  const { config, engine, log, metrics, stages } = parts;
  const bodies = new BodyReader({
    maxHeldBytes: config.limits.maxQueuedBytes,
    ...(stages === undefined ? {} : { onCopied: (ms) => stages.addOnMain("copy", ms) }),
  });
  metrics.watchBodies(() => bodies.heldBytes);
  const explain = explainFailures(log);
  const ingest = { config, engine, bodies, metrics };
  const doors = [ingestDoor(ingest, explain), probeDoor({ engine, metrics }, explain)];
  return {
    door: (incoming, outgoing) => doors.some((door) => door(incoming, outgoing)),
    express: ingestExpress(ingest, explain),
    app: async () => {
      const { createApp } = await import("./app.ts");
      const app = createApp(parts, { bodies, explain });
      await addRoutes(app);
      return app;
    },
  };
}
