import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { parseSelect } from "../../host/config/select.ts";

function expression(text: string): readonly unknown[] {
  const parsed = parseSelect(text);
  assert.ok(parsed.ok, text);
  const { fn, field, parameter } = parsed.expression;
  return [fn, field, parameter];
}

test("calls are read with dot paths, backquoted names and white space", () => {
  assert.deepEqual(expression("count()"), ["count", null, null]);
  assert.deepEqual(expression("count(temp)"), ["count", "temp", null]);
  assert.deepEqual(expression(" avg ( motor.bearing.temp ) "), ["avg", "motor.bearing.temp", null]);
  assert.deepEqual(expression("max(`oil temp (°C)`)"), ["max", "oil temp (°C)", null]);
  assert.deepEqual(expression("sum(größe)"), ["sum", "größe", null]);
  assert.deepEqual(expression("quantile(temp, 0.99)"), ["quantile", "temp", 0.99]);
  assert.deepEqual(expression("quantile(temp,1)"), ["quantile", "temp", 1]);
  assert.deepEqual(expression("quantile(temp, .5)"), ["quantile", "temp", 0.5]);
  assert.deepEqual(expression("topk(state, 3)"), ["topk", "state", 3]);
  assert.deepEqual(expression("twa(temp)"), ["twa", "temp", null]);
  assert.deepEqual(expression("twa(temp, linear)"), ["twa", "temp", null]);
  assert.deepEqual(expression("integral(watts, step)"), ["integral", "watts", 1]);
  for (const fn of [
    "sum",
    "avg",
    "min",
    "max",
    "range",
    "first",
    "last",
    "variance",
    "stddev",
    "distinct",
    "delta",
    "rate",
    "any",
    "all",
    "mode",
  ]) {
    assert.deepEqual(expression(`${fn}(x)`), [fn, "x", null]);
  }
});

test("a histogram has bounds, written out or at equal distances", () => {
  const boundsOf = (text: string): unknown => {
    const parsed = parseSelect(text);
    return parsed.ok ? parsed.expression.bounds : parsed.problem;
  };
  assert.deepEqual(boundsOf("histogram(temp, -1.5, 0, 1e3)"), [-1.5, 0, 1000]);
  assert.deepEqual(boundsOf("histogram(temp, 7)"), [7]);
  assert.deepEqual(boundsOf("histogram(temp, 0 to 1 in 5)"), [0, 0.2, 0.4, 0.6, 0.8, 1]);
  assert.deepEqual(boundsOf("histogram(temp, -20 to 60 in 2)"), [-20, 20, 60]);
});

test("what is wrong is named with its column and a fix", () => {
  const cases: readonly (readonly [string, number, RegExp])[] = [
    ["", 0, /a function is missing.*avg\(temp\)/],
    ["avg", 3, /"\(" is missing at the end.*avg\(temp\)/],
    ["avg()", 4, /avg\(\) needs a field/],
    ["avgg(temp)", 0, /no function avgg\(\).*did you mean avg\(\)\?/],
    ["AVG(temp)", 0, /did you mean avg\(\)\?/],
    ["frobnicate(temp)", 0, /use one of count, sum/],
    ["topk(state)", 10, /from 1 to 100, as in topk\(state, 3\)/],
    ["topk(state, 0)", 12, /not a size.*from 1 to 100/],
    ["topk(state, 2.5)", 12, /not a size/],
    ["topk(state, 101)", 12, /not a size/],
    ["topk(state, 3, 4)", 13, /takes two arguments/],
    ["twa(temp, spline)", 10, /neither step nor linear; write twa\(temp, step\)/],
    ["integral(temp, step, 1)", 19, /two arguments at most/],
    ["histogram(temp)", 14, /write bounds, as in histogram\(temp, 0, 10, 50\)/],
    ["histogram(temp, x)", 16, /a number is missing here/],
    ["histogram(temp, 0, 0)", 19, /bounds must ascend/],
    ["histogram(temp, 5 to 1 in 4)", 21, /bounds must ascend/],
    ["histogram(temp, 0 to 1 by 4)", 23, /"in" is missing before "by"/],
    ["histogram(temp, 0 to 1 in 0)", 26, /not a number of intervals from 1 to 255/],
    ["histogram(temp, 0 to 1e-323 in 9)", 31, /too narrow/],
    ["histogram(temp, 1e999)", 16, /a number is missing here/],
    ["rate(requests, 5)", 13, /takes one argument/],
    ["avg(temp", 8, /"\)" is missing at the end/],
    ["avg(temp, 2)", 8, /takes one argument/],
    ["avg(oil temp)", 8, /backquotes/],
    ["avg(oil-temp)", 7, /backquotes/],
    ["avg(temp) + 1", 10, /one value is one call/],
    ["count(*)", 6, /write count\(\)/],
    ["quantile(temp)", 13, /quantile\(temp, 0\.99\)/],
    ["quantile(temp, 99)", 15, /from 0 to 1/],
    ["quantile(temp, p99)", 15, /from 0 to 1/],
    ["quantile(temp, 0.5, 0.9)", 18, /takes two arguments/],
  ];
  for (const [text, column, message] of cases) {
    const parsed = parseSelect(text);
    assert.ok(!parsed.ok, text);
    assert.equal(parsed.problem.column, column, text);
    assert.match(`${parsed.problem.message}; ${parsed.problem.fix}`, message, text);
  }
});

test("no text makes the parser fail in another way", () => {
  fc.assert(
    fc.property(fc.string(), fc.constantFrom("", "avg(", "quantile(x,"), (text, start) => {
      const parsed = parseSelect(start + text);
      if (!parsed.ok)
        assert.ok(parsed.problem.column >= 0 && parsed.problem.column <= start.length + text.length);
    }),
  );
});
