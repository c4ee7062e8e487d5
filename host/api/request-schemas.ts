import * as z from "zod";

/** The bodies that are checked by their schema: all that a node needs of the schemas until somebody asks for the document. */
export const requestSchemas = {
  WatermarkRequest: z.union([
    z.strictObject({ time: z.union([z.string(), z.int()]).describe("ISO 8601 or epoch microseconds") }),
    z.strictObject({ end: z.literal(true).describe("closes every open window") }),
  ]),
  LateApplyRequest: z.strictObject({
    clockSkew: z.boolean().optional().describe("also take in clock-skewed events; default false"),
    after: z.int().nonnegative().optional().describe("`next` of the answer before"),
  }),
} as const;
