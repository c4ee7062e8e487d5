import { createServer, type Server } from "node:net";

/*
 * Ports for what is started on one of them later, and started on it again. One that the system gives and takes back may be given
 * to another test in between: so they are taken from where systems give none (Linux gives 32768 and more), and a block of them
 * belongs to this process while it listens on the block's first.
 */
const FIRST_PORT = 10_240;
const LAST_PORT = 32_000;
const BLOCK_PORTS = 40;
const BLOCKS = Math.floor((LAST_PORT - FIRST_PORT) / BLOCK_PORTS);

let turn: Promise<unknown> = Promise.resolve();
let next = 0;
let end = 0;
/** Neighbours begin far from each other. */
let block = (process.pid * 211) % BLOCKS;

/** A port of 127.0.0.1 that nobody listens on, and that no other test is given. */
export function freePort(): Promise<number> {
  const port = turn.then(take);
  turn = port.catch(() => undefined);
  return port;
}

async function take(): Promise<number> {
  for (;;) {
    if (next >= end) await claimBlock();
    const port = next++;
    const server = await listen(port);
    if (server === null) continue;
    await new Promise<void>((resolve) => server.close(() => resolve()));
    return port;
  }
}

async function claimBlock(): Promise<void> {
  for (let tries = 0; tries < BLOCKS; tries++) {
    const first = FIRST_PORT + block * BLOCK_PORTS;
    block = (block + 1) % BLOCKS;
    const guard = await listen(first);
    if (guard === null) continue;
    guard.unref();
    [next, end] = [first + 1, first + BLOCK_PORTS];
    return;
  }
  throw new Error(`all ports from ${FIRST_PORT} to ${LAST_PORT} are taken`);
}

/** null: somebody else does. */
function listen(port: number): Promise<Server | null> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", (cause: NodeJS.ErrnoException) =>
      cause.code === "EADDRINUSE" ? resolve(null) : reject(cause),
    );
    server.listen(port, "127.0.0.1", () => resolve(server));
  });
}
