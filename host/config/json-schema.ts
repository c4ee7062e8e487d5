import * as z from "zod";
import { configFile, window } from "./schema.ts";

export type JsonSchema = z.core.JSONSchema.BaseSchema;

const VARIABLE = "\\$\\{[A-Za-z_]\\w*\\}";

/** The configuration file's form as a JSON Schema, from which editors complete and check. */
export function configJsonSchema(): JsonSchema {
  return z.toJSONSchema(configFile, {
    io: "input",
    override: ({ zodSchema, jsonSchema }) => {
      if (zodSchema === window) allowNone(jsonSchema);
      else allowVariables(jsonSchema);
    },
  });
}

/** `none` may stand for `{ none: true }`. */
function allowNone(schema: JsonSchema): void {
  const settings = { ...schema };
  for (const member of Object.keys(schema)) delete schema[member];
  schema.anyOf = [{ const: "none" }, settings];
}

/** Wherever a form is asked for, `${NAME}` is allowed too. */
function allowVariables(schema: JsonSchema): void {
  if (schema.type === "integer") {
    schema.anyOf = [
      { type: "integer", minimum: schema.minimum, maximum: schema.maximum } as JsonSchema,
      { type: "string", pattern: VARIABLE },
    ];
    delete schema.type;
    delete schema.minimum;
    delete schema.maximum;
  }
  // A schema that refers to others is seen more than once.
  if (schema.pattern !== undefined && !schema.pattern.endsWith(VARIABLE))
    schema.pattern = `${schema.pattern}|${VARIABLE}`;
}

/** The settings that may stand at a path; for a place that takes any name, none. */
export function settingsAt(path: readonly PropertyKey[]): string[] {
  let schema: unknown = configJsonSchema();
  for (const part of path) {
    const { properties, additionalProperties } = members(schema);
    schema = properties[String(part)] ?? additionalProperties;
  }
  return Object.keys(members(schema).properties);
}

function members(schema: unknown): { properties: Record<string, unknown>; additionalProperties: unknown } {
  if (typeof schema !== "object" || schema === null) return { properties: {}, additionalProperties: null };
  const { properties = {}, additionalProperties = null, anyOf } = schema as JsonSchema;
  if (anyOf === undefined) return { properties, additionalProperties };
  return members(anyOf.find((option) => typeof option === "object" && option.type === "object") ?? null);
}
