const MAX_CELLS = 4_000_000;

/**
 * What changed between two texts, line by line: `- ` gone, `+ ` new, `  ` kept, by the longest common subsequence
 * (R. Wagner, M. Fischer 1974). Texts too long for its table are shown as all gone and all new.
 */
export function diffLines(before: string, after: string): string {
  const [a, b] = [linesOf(before), linesOf(after)];
  let start = 0;
  while (start < a.length && start < b.length && a[start] === b[start]) start++;
  let end = 0;
  while (end < a.length - start && end < b.length - start && a.at(-1 - end) === b.at(-1 - end)) end++;
  const changed = diffMiddle(a.slice(start, a.length - end), b.slice(start, b.length - end));
  const kept = (lines: readonly string[]): string[] => lines.map((line) => `  ${line}`);
  return [...kept(a.slice(0, start)), ...changed, ...kept(a.slice(a.length - end))]
    .map((line) => `${line}\n`)
    .join("");
}

function diffMiddle(a: readonly string[], b: readonly string[]): string[] {
  if (a.length * b.length > MAX_CELLS)
    return [...a.map((line) => `- ${line}`), ...b.map((line) => `+ ${line}`)];
  const width = b.length + 1;
  // lengths[i * width + j]: of the longest common subsequence of a from i on and b from j on.
  const lengths = new Uint32Array((a.length + 1) * width);
  for (let i = a.length - 1; i >= 0; i--) {
    for (let j = b.length - 1; j >= 0; j--) {
      const [down, right] = [lengths[(i + 1) * width + j]!, lengths[i * width + j + 1]!];
      lengths[i * width + j] = a[i] === b[j] ? lengths[(i + 1) * width + j + 1]! + 1 : Math.max(down, right);
    }
  }
  const lines: string[] = [];
  let [i, j] = [0, 0];
  while (i < a.length || j < b.length) {
    if (i < a.length && j < b.length && a[i] === b[j]) {
      lines.push(`  ${a[i]}`);
      i++;
      j++;
    } else if (
      j >= b.length ||
      (i < a.length && lengths[(i + 1) * width + j]! >= lengths[i * width + j + 1]!)
    ) {
      lines.push(`- ${a[i++]}`);
    } else lines.push(`+ ${b[j++]}`);
  }
  return lines;
}

function linesOf(text: string): string[] {
  return text.replace(/\n$/, "").split("\n");
}
