import { nearest } from "./suggest.ts";

/** Whether the platform knows the zone: a name such as Europe/Berlin, or an offset such as +05:30. */
export function isTimeZone(name: string): boolean {
  try {
    new Intl.DateTimeFormat("en-US", { timeZone: name });
    return true;
  } catch {
    return false;
  }
}

/** The zone that was probably meant, or null. A city's name alone is enough. */
export function nearestTimeZone(name: string): string | null {
  const zones = [...Intl.supportedValuesOf("timeZone"), "UTC"];
  const wanted = name.replaceAll(" ", "_").toLowerCase();
  const whole = zones.find((zone) => zone.toLowerCase().endsWith(`/${wanted}`));
  if (whole !== undefined) return whole;
  const direct = nearest(wanted, zones);
  if (direct !== null) return direct;
  const cities = new Map(zones.map((zone) => [zone.slice(zone.lastIndexOf("/") + 1), zone]));
  const city = nearest(wanted.slice(wanted.lastIndexOf("/") + 1), cities.keys());
  return city === null ? null : (cities.get(city) ?? null);
}
