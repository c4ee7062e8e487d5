import type { HybridTime } from "../attributes/hybrid-clock.ts";
import type { AttributeValue } from "../attributes/register.ts";

/** What is asked of a node's attributes of devices, and answered. */

export interface SetAttributesTask {
  readonly device: string;
  /** `replace`: what is not named is removed. */
  readonly mode: "merge" | "replace";
  /** null removes one. */
  readonly attributes: Readonly<Record<string, AttributeValue | null>>;
}

export interface DeviceAttribute {
  readonly attribute: string;
  /** A text of JSON. */
  readonly value: string;
  readonly time: HybridTime;
}

export interface DeviceAttributes {
  readonly device: string;
  readonly attributes: readonly DeviceAttribute[];
}

export type SetAttributesOutcome =
  | { readonly kind: "set"; readonly device: DeviceAttributes }
  /** There is no room for more. */
  | {
      readonly kind: "refused";
      readonly limit: "maxDevices" | "maxDeviceAttributes";
      readonly most: number;
    };

export interface ListDevicesTask {
  readonly after: string | null;
  readonly limit: number;
}

/** What a hub says of time: its clock, how far ahead of it what it takes may be, and the latest that it has of this edge. */
export interface HubTime {
  readonly nowMs: number;
  readonly maxAheadMs: number;
  readonly latest: HybridTime;
}

/** How the hybrid clock stands. */
export interface AttributeReport {
  readonly devices: number;
  readonly attributes: number;
  /** The clock's physical part less the node's own clock: above 0 when that was put back. */
  readonly aheadMs: number;
  /** Stamped anew since the start, for the hub would not have had them. */
  readonly restamped: number;
}
