import type { HttpBindings } from "@hono/node-server";
import type { Context, Hono } from "hono";
import {
  type AttributeLimits,
  isAttributeName,
  isAttributeValue,
  isDeviceName,
  isRounded,
} from "../../workers/attributes/attribute-rules.ts";
import { formatHybridTime } from "../../workers/attributes/hybrid-clock.ts";
import type { AttributeValue } from "../../workers/attributes/register.ts";
import { MillraceError } from "../../workers/errors.ts";
import type {
  DeviceAttributes,
  SetAttributesOutcome,
  SetAttributesTask,
} from "../../workers/store/attribute-operations.ts";
import { formatTime } from "../../workers/time-format.ts";
import type { DeviceRegistry } from "../attributes/device-registry.ts";
import { BodyReader } from "../ingest/body.ts";
import { mediaType, UNTOLD_TYPE } from "../ingest/http.ts";
import { refuseUnread } from "../ingest/refuse-unread.ts";
import { pageResponse } from "./page-response.ts";
import { type Problem, problemResponse } from "./problem.ts";
import { badCursor, readListQuery } from "./query-parameters.ts";
import type { DeviceAnswer } from "./schemas.ts";

type App = Hono<{ Bindings: HttpBindings }>;
type AppContext = Context<{ Bindings: HttpBindings }>;
type Scalars = Record<string, AttributeValue | null>;

/** Of unfinished bodies, all together. */
const MAX_HELD_BYTES = 4 * 1024 * 1024;
/** Of a page, which is made on the thread that commits. */
const MAX_PAGE_DEVICES = 1_000;
/** Names, quotes and commas of a body. */
const NAME_BYTES = 128;

/** Attributes of devices: what they are, rather than what they measure. */
export function addDeviceRoutes(app: App, devices: DeviceRegistry): void {
  const { limits } = devices;
  const maxBytes = limits.maxDeviceAttributes * (limits.maxAttributeBytes + NAME_BYTES);
  const bodies = new BodyReader({ maxHeldBytes: Math.max(MAX_HELD_BYTES, maxBytes) });
  const set =
    (mode: SetAttributesTask["mode"]) =>
    async (context: AppContext): Promise<Response> => {
      const { incoming } = context.env;
      const refuse = (problem: Problem): Response => refuseUnread(incoming, problem, maxBytes);
      const device = context.req.param("device") ?? "";
      if (!isDeviceName(device)) return refuse(badDevice);
      const type = mediaType(incoming.headers["content-type"]);
      if (type !== "" && type !== UNTOLD_TYPE && !/^application\/(merge-patch\+)?json$/.test(type))
        return refuse(badType(type));
      const read = await bodies.read(incoming, maxBytes);
      if (read.kind === "too-large") return refuse(tooLarge(limits));
      if (read.kind === "no-room") return refuse(busy);
      if (read.kind !== "read") return refuse(unread);
      const attributes = readScalars(Buffer.from(read.body), limits);
      if ("problem" in attributes) return refuse(attributes.problem);
      return answer(() => devices.set({ device, mode, attributes: attributes.scalars }), refuse);
    };
  app.put("/v1/devices/:device/attributes", set("replace"));
  app.patch("/v1/devices/:device/attributes", set("merge"));
  app.get("/v1/devices/:device/attributes", async (context) => {
    const device = context.req.param("device");
    if (!isDeviceName(device)) return problemResponse(badDevice);
    const known = await devices.read(device);
    return known === null ? problemResponse(unknownDevice(device)) : context.json(describeDevice(known));
  });
  app.get("/v1/devices", async (context) => {
    const request = readListQuery(context);
    if (request instanceof Response) return request;
    const { after } = request;
    if (after !== null && !isDeviceName(after)) return problemResponse(badCursor("after: not a device"));
    const limit = Math.min(request.limit, MAX_PAGE_DEVICES);
    const found = await devices.list({ after, limit });
    const ndjson = Buffer.from(found.map((each) => `${JSON.stringify(describeDevice(each))}\n`).join(""));
    return pageResponse(context, { ndjson, next: found.length < limit ? null : found.at(-1)!.device });
  });
}

export function describeDevice({ device, attributes }: DeviceAttributes): DeviceAnswer {
  const members = attributes.map(({ attribute, value, time }) => {
    const said = { value: JSON.parse(value) as AttributeValue, at: formatTime(time.ms * 1_000) };
    return [attribute, { ...said, clock: formatHybridTime(time) }] as const;
  });
  return { device, attributes: Object.fromEntries(members) };
}

async function answer(
  set: () => Promise<SetAttributesOutcome>,
  refuse: (problem: Problem) => Response,
): Promise<Response> {
  try {
    const outcome = await set();
    if (outcome.kind === "refused") return refuse(noRoom(outcome));
    return Response.json(describeDevice(outcome.device));
  } catch (cause) {
    if (cause instanceof MillraceError && cause.code === "E_ATTRIBUTES_WAITING")
      return refuse({ ...busy, detail: cause.message });
    if (cause instanceof MillraceError && cause.code === "E_BUFFER_FULL")
      return refuse({ status: 507, code: cause.code, title: "No room", detail: cause.message });
    if (cause instanceof MillraceError && /^E_(STORE|DISK)/.test(cause.code))
      return refuse({ ...busy, code: cause.code, detail: cause.message });
    throw cause;
  }
}

/** A JSON object of scalars; null removes. */
function readScalars(body: Buffer, limits: AttributeLimits): { scalars: Scalars } | { problem: Problem } {
  let document: unknown;
  try {
    document = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(body));
  } catch {
    return { problem: { ...badBody, detail: "the body is no JSON in UTF-8" } };
  }
  if (typeof document !== "object" || document === null || Array.isArray(document))
    return { problem: { ...badBody, detail: 'send a JSON object, such as {"firmware":"1.4.2"}' } };
  const errors = Object.entries(document).flatMap(([name, value]) => {
    const message = whatIsWrong(name, value, limits);
    return message === null ? [] : [{ line: 1, path: name, message }];
  });
  if (errors.length > 0) return { problem: { ...badBody, errors: errors.slice(0, 10) } };
  return { scalars: document as Scalars };
}

function whatIsWrong(name: string, value: unknown, limits: AttributeLimits): string | null {
  if (!isAttributeName(name)) return "an attribute's name has 1 to 64 letters, digits, _ . or -";
  if (value === null) return null;
  if (!isAttributeValue(value)) return "must be a text, a number, true, false, or null to remove it";
  if (isRounded(value)) return "is a whole number beyond 2^53, which JSON does not keep; send it as a text";
  const bytes = Buffer.byteLength(JSON.stringify(value));
  if (bytes <= limits.maxAttributeBytes) return null;
  return `has ${bytes} bytes, and limits.maxAttributeBytes is ${limits.maxAttributeBytes}`;
}

const badDevice: Problem = {
  status: 400,
  code: "E_DEVICE_NAME",
  title: "Bad device name",
  detail: "a device's name has 1 to 256 bytes of UTF-8, and no control characters",
};

const badBody: Problem = {
  status: 422,
  code: "E_ATTRIBUTES",
  title: "The attributes cannot be taken",
  detail: "nothing was changed; errors names each problem and what to do",
};

const unread: Problem = {
  status: 400,
  code: "E_ATTRIBUTES",
  title: "Bad request",
  detail: "the attributes did not come whole; send them again",
};

const busy: Problem = {
  status: 503,
  code: "E_UNAVAILABLE",
  title: "Unavailable",
  detail: "too many attributes are on their way in; send them again later",
  headers: { "retry-after": "2" },
};

function badType(type: string): Problem {
  const detail = `Content-Type ${type} is not one that can be read; send application/json`;
  return { status: 415, code: "E_CONTENT_TYPE", title: "Unsupported content type", detail };
}

function tooLarge({ maxDeviceAttributes, maxAttributeBytes }: AttributeLimits): Problem {
  const detail =
    `a device has limits.maxDeviceAttributes (${maxDeviceAttributes}) attributes of limits.maxAttributeBytes` +
    ` (${maxAttributeBytes}) each at most`;
  return { status: 413, code: "E_TOO_LARGE", title: "Too large", detail };
}

function noRoom({ limit, most }: SetAttributesOutcome & { kind: "refused" }): Problem {
  const detail =
    limit === "maxDevices"
      ? `there are limits.maxDevices (${most}) devices with attributes; remove those of one, or raise it`
      : `a device has limits.maxDeviceAttributes (${most}) at most; one that was removed counts until the hub knows`;
  return { status: 422, code: "E_ATTRIBUTE_LIMIT", title: "Too many attributes", detail };
}

function unknownDevice(device: string): Problem {
  const detail = `device ${device} has no attributes; PUT or PATCH sets some, and GET /v1/devices lists those that have any`;
  return { status: 404, code: "E_UNKNOWN_DEVICE", title: "Unknown device", detail };
}
