import * as fleet from "../../host/cli/bench/fleet-bodies.ts";
import { Random } from "../../test/support/random.ts";

export { type FleetBody, stampBody } from "../../host/cli/bench/fleet-bodies.ts";

export interface FleetOptions extends fleet.FleetOptions {
  readonly seed: number;
}

/** The events of `millrace bench`, the same in every run. */
export function makeFleetBodies(options: FleetOptions): fleet.FleetBody[] {
  const random = new Random(options.seed);
  return fleet.fleetBodies(options, () => random.next());
}

/** The query that benches run. */
export function fleetConfig(windowText: string, boundText: string, more = ""): string {
  return `${fleet.fleetConfig("fleet", "temp", windowText, boundText)}${more}`;
}
