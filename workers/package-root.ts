import { existsSync } from "node:fs";

/** Sources, bundles and chunks of bundles stand at different depths below it. */
const STEPS_UP = ["../", "../../", "../../../"];

/** The folder of the package, with a slash at its end. */
export const PACKAGE_ROOT: string = findRoot();

/** Whether this runs as TypeScript, in a checkout, and not as its compiled form. */
export const IS_SOURCE = import.meta.url.endsWith(".ts");

function findRoot(): string {
  const folders = STEPS_UP.map((up) => new URL(up, import.meta.url));
  const root = folders.find((folder) => existsSync(new URL("package.json", folder)));
  if (root === undefined) throw new Error(`there is no package.json above ${import.meta.url}`);
  return root.href;
}
