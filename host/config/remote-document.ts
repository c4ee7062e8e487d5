import { LineCounter, parseDocument } from "yaml";
import type { Environment } from "./env.ts";
import { parseConfig } from "./load.ts";
import { Places } from "./places.ts";
import type { Problem } from "./problems.ts";
import { VEILED_VARIABLE, veil } from "./veil.ts";

/** What of a configuration may come from a hub. All else is of the machine, and stands in the edge's own file. */
const REMOTE_SECTIONS: ReadonlySet<string> = new Set(["streams", "queries", "tables", "alerts"]);
const LOCAL_REASONS: Readonly<Record<string, string>> = {
  node: "it is the edge's name",
  data: "the events are there",
  http: "it is how the edge is reached",
  encryption: "keys must not depend on the hub",
  sync: "it is how the edge reaches the hub",
  relay: "it is whom the edge trusts",
};

/** Who a document is for. */
export type RemoteTarget = { readonly edge: string } | { readonly group: string };

/** What of a document may not come from a hub. A document that is no YAML has no such problems. */
export function localSettings(text: string, target: RemoteTarget, file: string): Problem[] {
  const lines = new LineCounter();
  const document = parseDocument(veil(text), { lineCounter: lines });
  const content: unknown = document.errors.length > 0 ? null : document.toJS();
  if (typeof content !== "object" || content === null || Array.isArray(content)) return [];
  const places = new Places(document, lines);
  const problem = (path: readonly string[], message: string, fix: string): Problem => {
    return { file, ...places.ofValue(path), path: path.join("."), message, fix };
  };
  const problems = Object.entries(content).flatMap(([section, value]) => {
    if (REMOTE_SECTIONS.has(section)) return [];
    if (section === "node" && "edge" in target && isNameOf(value, target.edge)) return [];
    const reason = LOCAL_REASONS[section] ?? "it is of the machine";
    const message = `${section} of an edge cannot be set from a hub: ${reason}`;
    return [problem([section], message, "leave it out; write it into the edge's own file")];
  });
  const { tables } = content as { readonly tables?: unknown };
  const files = Object.entries(isMap(tables) ? tables : {}).flatMap(([table, value]) => {
    if (!isMap(value) || !("file" in value)) return [];
    const message = "a file of the edge cannot be named from a hub";
    const fix = `leave it out, and put the rows with PUT /v1/tables/${table}`;
    return [problem(["tables", table, "file"], message, fix)];
  });
  return [...problems, ...files];
}

/** What is wrong with a document, as the edge would find it: nothing is read but the text. */
export function checkRemoteDocument(text: string, target: RemoteTarget): readonly Problem[] {
  const file = "configuration";
  const local = localSettings(text, target, file);
  if (local.length > 0) return local;
  const parsed = parseConfig(text, file, {}, unknownVariables(text));
  return parsed.ok ? [] : parsed.problems;
}

const HOOK = /webhook["']?\s*:\s*["']?([^\n,}]*)/g;

/** Variables are the edge's. Whatever they are there, they must not keep the rest from being looked at. */
function unknownVariables(text: string): Environment {
  const inAddresses = new Set<string>();
  for (const [, address = ""] of veil(text).matchAll(HOOK)) {
    const [first] = address.matchAll(VEILED_VARIABLE);
    if (first?.index === 0 && first[1] !== undefined) inAddresses.add(first[1]);
  }
  return new Proxy<Record<string, string>>(
    {},
    { get: (_, name) => (inAddresses.has(String(name)) ? "http://127.0.0.1/" : "1") },
  );
}

function isNameOf(node: unknown, edge: string): boolean {
  return isMap(node) && Object.keys(node).every((key) => key === "id") && node.id === edge;
}

function isMap(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
