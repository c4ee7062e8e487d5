import assert from "node:assert/strict";
import { test } from "node:test";
import { escapeControls } from "../../host/cli/escape.ts";

test("nothing that an event says reaches the terminal as a control", () => {
  assert.equal(escapeControls("a\u001b[2Jb\u0007"), "a\\u001b[2Jb\\u0007");
  assert.equal(escapeControls("line\nnext\tcell\r"), "line\\nnext\\tcell\\r");
  assert.equal(escapeControls("\u009b31m \u202egnp.exe\u2066"), "\\u009b31m \\u202egnp.exe\\u2066");
  assert.equal(escapeControls("größe ☃ 日本 😀"), "größe ☃ 日本 😀");
  for (let code = 0; code < 0x3000; code++) {
    const escaped = escapeControls(String.fromCharCode(code));
    assert.doesNotMatch(escaped, /[\p{Cc}\u2028\u2029]/u, code.toString(16));
  }
});
