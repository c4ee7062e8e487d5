import { type Document, isScalar, visit } from "yaml";
import type { Places } from "./places.ts";
import type { Problem } from "./problems.ts";

/**
 * A map of JavaScript has a meaning of its own for this name: what stands under it would be passed over in silence, and a stream that is
 * declared would not be there.
 */
const LOST = "__proto__";

/** Every place where a setting, a stream, a query, a field … has a name that cannot be kept. */
export function lostNames(document: Document, file: string, places: Places): Problem[] {
  const problems: Problem[] = [];
  visit(document, {
    Pair(_, { key }) {
      if (!isScalar(key) || String(key.value) !== LOST) return;
      const place = places.ofOffset(key.range?.[0] ?? 0);
      problems.push({
        file,
        ...place,
        path: "",
        message: `${LOST} cannot be a name`,
        fix: "choose another",
      });
    },
  });
  return problems;
}
