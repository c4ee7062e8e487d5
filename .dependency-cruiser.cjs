/** The arrows of the tree: host → workers → assembly, never back. */
module.exports = {
  forbidden: [
    {
      name: "workers-know-no-host",
      comment: "workers/ runs on threads and must not reach into the shell",
      severity: "error",
      from: { path: "^workers" },
      to: { path: "^host" },
    },
    {
      name: "only-core-binds-wasm",
      comment: "the WASM module is reached through workers/core alone",
      severity: "error",
      from: { pathNot: "^workers/core" },
      to: { path: "^(assembly|node_modules/@assemblyscript)" },
    },
    {
      name: "no-cycles",
      severity: "error",
      from: {},
      to: { circular: true },
    },
    {
      name: "product-knows-no-tests",
      severity: "error",
      from: { path: "^(host|workers)" },
      to: { path: "^(test|bench)" },
    },
  ],
  options: {
    doNotFollow: { path: "node_modules" },
    tsPreCompilationDeps: true,
    tsConfig: { fileName: "tsconfig.json" },
    enhancedResolveOptions: { extensions: [".ts", ".js"] },
  },
};
