import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, normalize, relative } from "node:path";
import { test } from "node:test";

const root = normalize(join(import.meta.dirname, "../.."));

interface Import {
  readonly from: string;
  readonly to: string;
}

/** The arrows of the tree: host → workers → assembly, never back. */
const RULES: readonly { readonly name: string; readonly isBroken: (arrow: Import) => boolean }[] = [
  {
    name: "workers know nothing of the host",
    isBroken: ({ from, to }) => from.startsWith("workers/") && to.startsWith("host/"),
  },
  {
    name: "the WASM module is reached through workers/core alone",
    isBroken: ({ from, to }) =>
      !from.startsWith("workers/core/") &&
      !from.startsWith("assembly/") &&
      /^(assembly\/|@assemblyscript)/.test(to),
  },
  {
    name: "the core knows nothing outside itself and AssemblyScript's own library",
    isBroken: ({ from, to }) => from.startsWith("assembly/") && !/^(assembly|util)\//.test(to),
  },
  {
    name: "the product knows nothing of its tests and benches",
    isBroken: ({ from, to }) => /^(host|workers|assembly)\//.test(from) && /^(test|bench)\//.test(to),
  },
];

function sources(folder: string): string[] {
  return readdirSync(join(root, folder), { recursive: true, encoding: "utf8" })
    .filter((file) => /\.(ts|js)$/.test(file))
    .map((file) => join(folder, file));
}

function importsOf(file: string): Import[] {
  const text = readFileSync(join(root, file), "utf8");
  const specifiers = [
    ...text.matchAll(
      /^(?:import|export|\} from)\b[^;\n]*?\bfrom "([^"]+)";|^import "([^"]+)";|^\} from "([^"]+)";/gm,
    ),
  ];
  return specifiers
    .map(([, named, bare, multiline]) => named ?? bare ?? multiline ?? "")
    .map((specifier) => ({
      from: file,
      to: specifier.startsWith(".") ? relative(root, join(root, dirname(file), specifier)) : specifier,
    }));
}

const imports = ["host", "workers", "assembly"].flatMap(sources).flatMap(importsOf);

test("imports are found, so that the rules have something to check", () => {
  assert.ok(imports.some(({ from, to }) => from === "host/main.ts" && to === "host/store/storage-client.ts"));
  assert.ok(imports.some(({ to }) => to === "@assemblyscript/loader"));
  assert.ok(imports.length > 200);
});

for (const { name, isBroken } of RULES) {
  test(name, () => assert.deepEqual(imports.filter(isBroken), []));
}

/** Value imports that lead back to where they began. Types are erased and may be mutual. */
test("no module imports itself by way of others", () => {
  const next = new Map<string, string[]>();
  for (const file of ["host", "workers"].flatMap(sources)) {
    const text = readFileSync(join(root, file), "utf8").replaceAll(/^import type[^;]*;/gms, "");
    const targets = [...text.matchAll(/from\s+"(\.[^"]+)"/g)].map(([, to = ""]) =>
      relative(root, join(root, dirname(file), to)),
    );
    next.set(file, targets);
  }
  const done = new Set<string>();
  const visit = (file: string, path: readonly string[]): void => {
    assert.ok(!path.includes(file), `a cycle: ${[...path, file].join(" → ")}`);
    if (done.has(file)) return;
    for (const to of next.get(file) ?? []) visit(to, [...path, file]);
    done.add(file);
  };
  for (const file of next.keys()) visit(file, []);
});
