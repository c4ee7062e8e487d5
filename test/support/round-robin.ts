import { connect, createServer, type Socket } from "node:net";
import type { Cleanup } from "./temp-dir.ts";

/** One address in front of several: each connection goes to the next that takes it. Targets may throw while they are down. */
export async function startRoundRobin(targets: readonly (() => string)[], cleanup: Cleanup): Promise<string> {
  let turn = 0;
  const sockets = new Set<Socket>();
  const keep = (socket: Socket): Socket => {
    sockets.add(socket);
    return socket.on("close", () => sockets.delete(socket)).on("error", () => undefined);
  };
  const server = createServer((client) => {
    keep(client);
    const join = (left: number): void => {
      const target = targets[turn++ % targets.length];
      let hub: Socket;
      try {
        const { hostname, port } = new URL(target!());
        hub = keep(connect(Number(port), hostname));
      } catch {
        if (left > 1) join(left - 1);
        else client.destroy();
        return;
      }
      client.pipe(hub).pipe(client);
      client.on("close", () => hub.destroy());
      hub.on("close", () => client.destroy());
    };
    join(targets.length);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  cleanup.after(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("the proxy has no port");
  return `http://127.0.0.1:${address.port}`;
}
