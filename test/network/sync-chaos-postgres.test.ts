/** The chaos run with a hub on PostgreSQL, which is killed as well. */
process.env.MILLRACE_HUB_STORE = "postgres";
await import("./sync-chaos.test.ts");
