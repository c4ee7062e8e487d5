import { type Document, isMap, isNode, isScalar, isSeq, parseDocument, type Scalar } from "yaml";
import type { Config } from "./config.ts";
import { unveil, veil } from "./veil.ts";

/** An address as it is shown: it may hold a secret, so only its beginning is. */
const SHOWN = /^(https?:\/\/[^/?#]+)\/\*\*\*$/;

export function shownAddress(url: string): string {
  return `${new URL(url).origin}/***`;
}

export function isShownAddress(url: string): boolean {
  return SHOWN.test(url);
}

interface WrittenAddress {
  readonly alert: string;
  readonly node: Scalar;
}

/** The texts of `alerts.*.notify[].webhook`. */
function addressesIn(document: Document): WrittenAddress[] {
  const alerts = document.get("alerts", true);
  if (!isMap(alerts)) return [];
  return alerts.items.flatMap(({ key, value }) => {
    const notify: unknown = isMap(value) ? value.get("notify", true) : null;
    if (!isSeq(notify)) return [];
    const nodes = notify.items.flatMap((item) => (isMap(item) ? [item.get("webhook", true)] : []));
    const alert = isScalar(key) ? String(key.value) : "";
    return nodes.flatMap((node) => (isScalar(node) ? [{ alert, node }] : []));
  });
}

/**
 * To be asked before variables are put in: the result says, once they are, how each address with a variable is written.
 */
export function watchAddresses(document: Document): () => ReadonlyMap<string, string> {
  const written = addressesIn(document).map(({ node }) => ({ node, text: unveil(String(node.value)) }));
  return () =>
    new Map(
      written.flatMap(({ node, text }) => (node.value === text ? [] : [[String(node.value), text] as const])),
    );
}

/**
 * A document in which addresses stand as they were shown gets those that its alerts have: of one origin the first shown is
 * the first that there is, and so on. One that there is not stays as it is shown, and is refused later.
 */
export function revealAddresses(text: string, { alerts, writtenWebhooks }: Config): string {
  const veiled = veil(text);
  const document = parseDocument(veiled);
  if (document.errors.length > 0) return text;
  const seen = new Map<string, number>();
  const changes = addressesIn(document).flatMap(({ alert, node }) => {
    const address = String(node.value);
    const origin = SHOWN.exec(address)?.[1];
    if (origin === undefined || !isNode(node) || node.range == null) return [];
    const place = `${alert} ${origin}`;
    const index = seen.get(place) ?? 0;
    seen.set(place, index + 1);
    const own = alerts.get(alert)?.webhooks.filter((url) => shownAddress(url) === address)[index];
    if (own === undefined) return [];
    const [start, end] = node.range;
    return [{ start, end, url: JSON.stringify(writtenWebhooks?.get(own) ?? own) }];
  });
  const replaced = changes
    .toReversed()
    .reduce((whole, { start, end, url }) => whole.slice(0, start) + url + whole.slice(end), veiled);
  return changes.length === 0 ? text : unveil(replaced);
}
