/** The chaos run over JetStream to a hub on PostgreSQL; both servers are killed as well. */
process.env.MILLRACE_HUB_STORE = "jetstream";
await import("./sync-chaos.test.ts");
