import type { AttributeValue } from "./register.ts";

/** What attributes of devices there may be. */
export interface AttributeLimits {
  /** Devices that have attributes. */
  readonly maxDevices: number;
  /** Attributes of a device. */
  readonly maxDeviceAttributes: number;
  /** Of a value, as JSON in UTF-8. */
  readonly maxAttributeBytes: number;
}

const NAME = /^[A-Za-z0-9_.-]{1,64}$/;
const MAX_DEVICE_BYTES = 256;
const FIRST_PRINTABLE = 0x20;
const DELETE_CHARACTER = 0x7f;

export function isAttributeName(name: string): boolean {
  return NAME.test(name);
}

export function isDeviceName(name: string): boolean {
  if (name === "" || Buffer.byteLength(name) > MAX_DEVICE_BYTES || !name.isWellFormed()) return false;
  return [...name].every((character) => {
    const point = character.codePointAt(0) ?? 0;
    return point >= FIRST_PRINTABLE && point !== DELETE_CHARACTER;
  });
}

export function isAttributeValue(value: unknown): value is AttributeValue {
  if (typeof value === "string") return value.isWellFormed();
  return typeof value === "boolean" || (typeof value === "number" && Number.isFinite(value));
}

/** A whole number of more digits than a double holds: it was changed as it was read. */
export function isRounded(value: unknown): boolean {
  return typeof value === "number" && Number.isInteger(value) && !Number.isSafeInteger(value);
}
