import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { compileHaving, compileRows } from "../../host/config/expression/compile.ts";
import { parseExpression } from "../../host/config/expression/parse.ts";
import type { Tree } from "../../host/config/expression/tree.ts";
import { parsed, streamOf } from "../support/expression-fixture.ts";

/** With all brackets written out. */
function brief(tree: Tree): string {
  switch (tree.type) {
    case "literal":
      return typeof tree.value === "string" ? JSON.stringify(tree.value) : `${tree.value}`;
    case "name":
      return tree.name;
    case "negate":
      return `-(${brief(tree.operand)})`;
    case "not":
      return `!(${brief(tree.operand)})`;
    case "arithmetic":
    case "comparison":
    case "logic":
      return `(${brief(tree.left)} ${tree.operator} ${brief(tree.right)})`;
    case "like":
      return `(${brief(tree.operand)} like ${brief(tree.pattern)})`;
    case "in":
      return `(${brief(tree.operand)} in [${tree.items.map(brief).join(", ")}])`;
    case "between":
      return `(${brief(tree.operand)} between ${brief(tree.low)} and ${brief(tree.high)})`;
    case "is-null":
      return `(${brief(tree.operand)} is null)`;
    case "call":
      return `${tree.name}(${tree.arguments.map(brief).join(", ")})`;
  }
}

test("operators bind as they do elsewhere", () => {
  const cases: readonly (readonly [string, string])[] = [
    ["a + b * c - d", "((a + (b * c)) - d)"],
    ["a / b / c % d", "(((a / b) / c) % d)"],
    ["(a + b) * c", "((a + b) * c)"],
    ["-a * b", "(-(a) * b)"],
    ["a - -3", "(a - -3)"],
    ["-2 - 1", "(-2 - 1)"],
    ["a && b || c and d", "((a and b) or (c and d))"],
    ["a or b and not c == d", "(a or (b and !((c == d))))"],
    ["!a == b", "(!(a) == b)"],
    ["not not a", "!(!(a))"],
    ["a + 1 > b * 2", "((a + 1) > (b * 2))"],
    ["a between 1 and 2 and b", "((a between 1 and 2) and b)"],
    ["a not between b and c + 1 or d", "(!((a between b and (c + 1))) or d)"],
    ["a in (1, 2) and b not in ['x', \"y\"]", '((a in [1, 2]) and !((b in ["x", "y"])))'],
    ["name like 'a*' or name not like 'b?'", '((name like "a*") or !((name like "b?")))'],
    ["a is null or b is not null", "((a is null) or !((b is null)))"],
    ["if(a > 1, max(b, c), -d)", "if((a > 1), max(b, c), -(d))"],
    ["motor.bearing.temp > `oil temp (°C)`", "(motor.bearing.temp > oil temp (°C))"],
    ["größe + _x1", "(größe + _x1)"],
    ["  true  ", "true"],
    ["a\n  > 1", "(a > 1)"],
  ];
  for (const [text, expected] of cases) assert.equal(brief(parsed(text).tree), expected, text);
});

test("numbers and texts are read exactly", () => {
  const value = (text: string): unknown => {
    const { tree } = parsed(text);
    assert.equal(tree.type, "literal");
    return tree.type === "literal" ? tree.value : null;
  };
  assert.equal(value("42"), 42n);
  assert.equal(value("9223372036854775807"), 9223372036854775807n);
  assert.equal(value("9223372036854775808"), 2 ** 63);
  assert.equal(value("-9223372036854775808"), -9223372036854775808n);
  assert.equal(value("1.5e3"), 1500);
  assert.equal(value("2.0"), 2);
  assert.equal(value(".5"), 0.5);
  assert.equal(value("null"), null);
  assert.equal(value(String.raw`"a \"b\" \n \u00e9 \u{1f600} \\"`), 'a "b" \n é 😀 \\');
  assert.equal(value("'it\\'s'"), "it's");
});

test("what is wrong with the form is named with its place and a fix", () => {
  const cases: readonly (readonly [string, number, RegExp])[] = [
    ["", 0, /column 1: a value is missing at the end; write a field/],
    ["temp >", 6, /column 7: a value is missing at the end/],
    ["temp = 3", 5, /unexpected "="; compare with ==/],
    ["a & b", 2, /write && or and/],
    ["a AND b", 2, /unexpected "AND"; write and/],
    ["a < b < c", 6, /comparisons do not chain; write a < b and b < c/],
    ["(a + b", 6, /"\)" is missing at the end; close the bracket/],
    ["max(a, b", 8, /"\)" is missing at the end/],
    ["a + b)", 5, /no bracket is open here/],
    ["oil temp", 4, /unexpected "temp"; .*backquotes/],
    ["5temp", 1, /unexpected "temp"/],
    ['state == "off', 9, /what " opens is not closed; close the text with "/],
    ["`oil", 0, /what ` opens is not closed/],
    ["a in 3", 5, /a list is missing after in/],
    ["a in ()", 6, /unexpected "\)"/],
    ["a between 1, 2", 11, /and is missing; write x between 1 and 2/],
    ["a is 3", 5, /null is missing/],
    ["a not b", 6, /before in, between or like/],
    ["a == not b", 5, /put it in brackets/],
    ["in > 3", 0, /unexpected "in"; write `in` in backquotes/],
    ["[1, 2]", 0, /lists stand behind in alone/],
    ["1e999", 0, /the number is too great/],
    ['"\\q"', 1, /unknown escape/],
    ["a ? b : c", 2, /write if\(condition, a, b\)/],
    ["temp #", 5, /unexpected "#"/],
    ["a >\n  b +", 9, /line 2, column 6: a value is missing/],
    ["(".repeat(101), 100, /too many brackets/],
    ["a".repeat(8_193), 0, /more than 8192 characters/],
  ];
  for (const [text, at, message] of cases) {
    const attempt = parseExpression(text);
    assert.ok(!attempt.ok, text);
    assert.equal(attempt.problem.at, at, text);
    assert.match(`${attempt.problem.message}; ${attempt.problem.fix}`, message, text);
  }
});

test("what is wrong with the kinds is named with its place and a fix", () => {
  const stream = streamOf({ temp: "float", rpm: "int", on: "bool", state: "string" });
  const cases: readonly (readonly [string, number, RegExp])[] = [
    ["temp", 0, /this is a number, not true or false; compare it/],
    ["state > 3", 6, /a text is compared with a number; .*string\(x\)/],
    ["on == 1", 3, /true or false is compared with a number/],
    ["state + 1 > 0", 6, /\+ adds numbers, and this is a text; join texts with concat/],
    ["temp * on > 0", 7, /\* needs a number, and this is true or false; write if\(x, 1, 0\)/],
    ["temp and on", 0, /and needs true or false, and this is a number/],
    ["not state", 4, /not needs true or false, and this is a text/],
    ["-state > 0", 1, /- needs a number/],
    ["tmp > 3", 0, /stream s has no field tmp; did you mean `temp`\?/],
    ["voltage > 3", 0, /has no field voltage; declare it under streams\.s\.fields/],
    ["tmperature(temp) > 1", 0, /there is no function tmperature\(\); the functions are starts_with/],
    ["flor(temp) > 1", 0, /did you mean floor\(\)\?/],
    ["abs() > 1", 0, /abs\(\) takes 1 argument, and has 0; write it like abs\(temp\)/],
    ["abs(temp, 1) > 1", 0, /abs\(\) takes 1 argument, and has 2/],
    ["hour(1, 2) > 1", 0, /hour\(\) takes at most 1 argument, and has 2/],
    ["max(temp) > 1", 0, /max\(\) takes at least 2 arguments/],
    ["length(temp) > 1", 7, /length\(\) needs a text, and this is a number; write string\(x\)/],
    ["if(temp, 1, 2) > 1", 3, /if\(\) needs true or false/],
    ['if(on, 1, "x") == 1', 10, /if\(\) gives a number or a text; let both be of one kind/],
    ['coalesce(temp, rpm, "x") == 1', 20, /coalesce\(\) gives a number or a text/],
    ["temp in (1, null)", 12, /nothing equals null; .*is null/],
    ["temp < null", 5, /nothing is < null; write x is null/],
    ["temp like 'a*'", 0, /like needs a text/],
    ["time(state) > 1", 5, /a text that stands in the expression/],
    ['time("2026-01-01") > 1', 5, /no time of ISO 8601 with a time zone/],
    ['state in ("on", 3)', 16, /a text is compared with a number/],
    ["temp between 1 and state", 5, /a number is compared with a text/],
  ];
  for (const [text, at, message] of cases) {
    const { problems } = compileRows({ where: parsed(text), derive: [] }, stream, new Map());
    const [found] = problems;
    assert.ok(found, text);
    assert.equal(found.problem.at, at, text);
    assert.match(`${found.problem.message}; ${found.problem.fix}`, message, text);
  }
});

test("having sees selected values, the key and the window", () => {
  const stream = streamOf({ temp: "float", site: "string" });
  const select = [
    { name: "n", fn: "count", field: null, parameter: null },
    { name: "mean", fn: "avg", field: "temp", parameter: null },
  ] as const;
  const problemOf = (text: string): string => {
    const attempt = compileHaving({ having: parsed(text), by: ["site"], select }, stream, new Map());
    return attempt?.ok === false ? `${attempt.problem.message}; ${attempt.problem.fix}` : "";
  };
  assert.equal(problemOf('n > 1 and mean between 3 and 5 and site == "a" and hour(window.start) < 8'), "");
  assert.match(
    problemOf("temp > 1"),
    /column 1: the query gives no temp; there are n, mean, site, window\.start/,
  );
  assert.match(problemOf("site > 3"), /a text is compared with a number/);
  assert.match(problemOf("hour() > 3"), /a result has no event time; write hour\(window\.start\)/);
  assert.match(problemOf("meen > 3"), /did you mean `mean`\?/);
});

test("no text makes reader, checker or compiler fail in another way", () => {
  const stream = streamOf({ temp: "float", rpm: "int", on: "bool", state: "string" });
  const piece = fc.constantFrom(
    ..."temp rpm on state ts 1 2.5 1e9 'x' \"y\" null true ( ) [ ] , + - * / % == != < <= > >= && || !".split(
      " ",
    ),
    ..."and or not in between like is if( max( coalesce( concat( hour( time( `a ` é 😀 \\ \n".split(" "),
  );
  const soup = fc.array(piece, { maxLength: 30 }).map((pieces) => pieces.join(" "));
  fc.assert(
    fc.property(fc.oneof(soup, fc.string(), fc.string({ unit: "grapheme" })), (text) => {
      const attempt = parseExpression(text);
      if (attempt.ok) {
        const expression = attempt.value;
        for (const { problem } of compileRows(
          { where: expression, derive: [{ name: "d", expression }] },
          stream,
          new Map(),
        ).problems)
          assert.ok(problem.at >= 0 && problem.at <= text.length);
      } else {
        assert.ok(attempt.problem.at >= 0 && attempt.problem.at <= text.length);
        assert.ok(attempt.problem.fix.length > 0);
      }
    }),
    { numRuns: 3_000 },
  );
});

test("the longest expressions compile", () => {
  const stream = streamOf({ a: "float" });
  const nested = (open: string, close: string, depth: number): string =>
    `${open.repeat(depth)}a${close.repeat(depth)}`;
  for (const text of [
    Array(2_048).fill("a").join(" + "),
    Array(1_000).fill("a>1").join(" or "),
    `a in (${Array(2_000).fill("1").join(",")})`,
    nested("(", ")", 90),
    nested("-", "", 90),
    nested("coalesce(a, ", ")", 90),
    nested("max(a, ", ", 1)", 90),
    nested("if(a between 1 and 2, ", ", a)", 90),
  ]) {
    const attempt = parseExpression(text);
    assert.ok(attempt.ok, text);
    const derive = [{ name: "d", expression: attempt.value }];
    const { program } = compileRows({ where: null, derive }, stream, new Map());
    assert.ok(program !== null && program.code.length < 300_000, text);
  }
});
