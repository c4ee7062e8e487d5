import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { parseBody } from "./parse-support.ts";

/** A case of the well-known suite: `y_` must be taken, `n_` refused, `i_` is up to the parser. */
interface Case {
  readonly name: string;
  readonly text?: string;
  readonly hex?: string;
  readonly repeat?: string;
  readonly count?: number;
}

const cases = JSON.parse(
  readFileSync(new URL("./data/json-conformance.json", import.meta.url), "utf8"),
) as Case[];

/** What we make of the cases that are up to us, as `{"v":…}` on a line; the others of `i_` are taken. */
const REFUSED = new Map([
  ["i_number_huge_exp", "E_NUMBER"],
  ["i_number_neg_int_huge_exp", "E_NUMBER"],
  ["i_number_pos_double_huge_exp", "E_NUMBER"],
  ["i_number_real_neg_overflow", "E_NUMBER"],
  ["i_number_real_pos_overflow", "E_NUMBER"],
  ["i_object_key_lone_2nd_surrogate", "E_SURROGATE"],
  ["i_string_1st_surrogate_but_2nd_missing", "E_SURROGATE"],
  ["i_string_1st_valid_surrogate_2nd_invalid", "E_SURROGATE"],
  ["i_string_incomplete_surrogate_and_escape_valid", "E_SURROGATE"],
  ["i_string_incomplete_surrogate_pair", "E_SURROGATE"],
  ["i_string_incomplete_surrogates_escape_valid", "E_SURROGATE"],
  ["i_string_invalid_lonely_surrogate", "E_SURROGATE"],
  ["i_string_invalid_surrogate", "E_SURROGATE"],
  ["i_string_inverted_surrogates_U+1D11E", "E_SURROGATE"],
  ["i_string_lone_second_surrogate", "E_SURROGATE"],
  ["i_string_UTF-16LE_with_BOM", "E_JSON"],
  ["i_string_UTF-8_invalid_sequence", "E_UTF8"],
  ["i_string_UTF8_surrogate_U+D800", "E_UTF8"],
  ["i_string_invalid_utf-8", "E_UTF8"],
  ["i_string_iso_latin_1", "E_UTF8"],
  ["i_string_lone_utf8_continuation_byte", "E_UTF8"],
  ["i_string_not_in_unicode_range", "E_UTF8"],
  ["i_string_overlong_sequence_2_bytes", "E_UTF8"],
  ["i_string_overlong_sequence_6_bytes", "E_UTF8"],
  ["i_string_overlong_sequence_6_bytes_null", "E_UTF8"],
  ["i_string_truncated-utf-8", "E_UTF8"],
  ["i_string_utf16BE_no_BOM", "E_JSON"],
  ["i_string_utf16LE_no_BOM", "E_JSON"],
  ["i_structure_UTF-8_BOM_empty_object", "E_JSON"],
  ["i_structure_500_nested_arrays", "E_DEPTH"],
]);

/** White space only, and a byte order mark only, are bodies without events. */
const EMPTY_BODIES = new Set(["n_single_space", "n_structure_no_data", "n_structure_UTF8_BOM_no_data"]);

function bytesOf({ text, hex, repeat, count }: Case): Buffer {
  if (hex !== undefined) return Buffer.from(hex, "hex");
  return Buffer.from(text ?? repeat!.repeat(count!), "utf8");
}

for (const entry of cases) {
  const bytes = bytesOf(entry);
  const mustPass = entry.name.startsWith("y_");
  const mustFail = entry.name.startsWith("n_");

  // A case of several lines can only stand in a document.
  if (!bytes.includes(0x0a)) {
    test(`on a line: ${entry.name}`, () => {
      const line = Buffer.concat([Buffer.from('{"v":'), bytes, Buffer.from("}")]);
      const { accepted, bad, errors } = parseBody("ndjson", line);
      const code = REFUSED.get(entry.name);
      if (mustPass || (!mustFail && code === undefined)) assert.deepEqual([accepted, bad], [1, 0]);
      else assert.deepEqual([accepted, bad], [0, 1]);
      if (code !== undefined) assert.equal(errors[0]?.code, code);
      if (mustFail) assert.match(errors[0]!.code, /^(E_JSON|E_UTF8|E_DEPTH|E_SURROGATE)$/);
    });
  }

  if (EMPTY_BODIES.has(entry.name)) continue;
  test(`as a document: ${entry.name}`, () => {
    const { bad, errors } = parseBody("json", bytes);
    const isMalformed = errors.some(({ code }) => code === "E_JSON" || code === "E_UTF8");
    if (mustPass) assert.equal(isMalformed, false);
    if (mustFail) assert.deepEqual([isMalformed, bad], [true, 1]);
  });
}
