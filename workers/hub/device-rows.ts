import { formatHybridTime } from "../attributes/hybrid-clock.ts";
import { formatTime } from "../time-format.ts";

/** A device of an edge; `attributes` is a JSON array of `[attribute, value, ms, counter]`, in any order. */
export interface HubDevice {
  readonly edge: string;
  readonly device: string;
  readonly attributes: string;
}

type Attribute = readonly [name: string, value: string, ms: number, counter: number];

/** `{"edge":"press-1","device":"m1","attributes":{"firmware":{"value":"1.4","at":"…","clock":"1767225600000-0"}}}` */
export function deviceJson({ edge, device, attributes }: HubDevice): string {
  const sorted = (JSON.parse(attributes) as Attribute[]).toSorted(([a], [b]) => (a < b ? -1 : 1));
  const members = sorted.map(([name, value, ms, counter]) => {
    const at = formatTime(ms * 1_000);
    return `${JSON.stringify(name)}:{"value":${value},"at":"${at}","clock":"${formatHybridTime({ ms, counter })}"}`;
  });
  return `{"edge":${JSON.stringify(edge)},"device":${JSON.stringify(device)},"attributes":{${members.join(",")}}}`;
}
