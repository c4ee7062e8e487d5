/** What was wrong with a line, by the core's numbers. `at` is the byte of the line, 1-based. */
const FAULTS: readonly { readonly code: string; readonly message: (path: string, at: number) => string }[] = [
  { code: "E_LINE", message: () => "cannot be read" },
  { code: "E_SYNTAX", message: (_, at) => `not JSON from byte ${at} on; send one complete JSON object a line` },
  { code: "E_DEPTH", message: (_, at) => `nested deeper than 64 levels at byte ${at}; flatten the event` },
  { code: "E_NUMBER", message: (_, at) => `the number at byte ${at} is beyond what a double holds` },
  { code: "E_UTF8", message: (_, at) => `the string at byte ${at} is not UTF-8` },
  { code: "E_ESCAPE", message: (_, at) => `the escape at byte ${at} is none of JSON's, or half a surrogate pair` },
  { code: "E_NOT_OBJECT", message: () => "an event is a JSON object, {…}" },
  { code: "E_TYPE", message: (path) => `${path} has another type than the one declared for it` },
  { code: "E_NO_TIME", message: () => "the declared time field is missing" },
  {
    code: "E_TIME",
    message: (path) => `${path} is no time: send ISO 8601 or an epoch number in the declared unit, years 1 to 9999`,
  },
  { code: "E_NO_KEY", message: (path) => `the key field ${path} is missing or null` },
  { code: "E_LINE_TOO_LONG", message: () => "the line is longer than 1 MiB" },
  { code: "E_UNDECLARED", message: (path) => `${path} is not declared, and extra: reject refuses it` },
  { code: "E_CONTROL", message: (_, at) => `a control character stands in a string at byte ${at}; escape it` },
  { code: "E_HEADER", message: () => "the CSV header has an empty or unreadable name" },
  { code: "E_CELLS", message: () => "the record has not as many cells as the header" },
  { code: "E_QUOTE", message: () => "a quote stands wrong or is never closed" },
];

export function describeFault(fault: number, path: string, at: number): { code: string; message: string } {
  const { code, message } = FAULTS[fault] ?? FAULTS[0]!;
  return { code, message: message(path, at) };
}
