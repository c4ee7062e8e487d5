import { MillraceError } from "../errors.ts";
import type { Reader } from "../store/reader.ts";
import type { CursorForm } from "./cursor.ts";
import type * as tasks from "./tasks.ts";
import { unopenedRows } from "./tasks.ts";

/** A page of NDJSON, where the next one starts, and the blocks that could not be read. */
export interface TextPage extends Omit<tasks.Page<unknown>, "next"> {
  readonly next: string | null;
}

/** Reads a page whose place is given as text. An error with a code becomes a value. */
export function answerPage<Cursor>(
  open: () => Reader,
  { after, limit }: { readonly after: string | null; readonly limit: number },
  form: CursorForm<Cursor>,
  read: (store: Reader, after: Cursor | null) => tasks.Page<Cursor>,
): TextPage | tasks.QueryFailure {
  return expected(() => {
    const store = open();
    if (!(limit >= 1)) throw new MillraceError("E_LIMIT", `limit is ${limit}; a page has at least one row`);
    const { ndjson, next, skippedBlocks } = read(store, after === null ? null : form.decode(after));
    const unopened = store.takeUnopened();
    return {
      ndjson,
      next: next === null ? null : form.encode(next),
      skippedBlocks: unopened === 0 ? skippedBlocks : [...skippedBlocks, unopenedRows(unopened)],
    };
  });
}

/** Runs it; an error with a code becomes a value. */
export function expected<T>(run: () => T): T | tasks.QueryFailure {
  try {
    return run();
  } catch (cause) {
    if (cause instanceof MillraceError) return { failure: { code: cause.code, message: cause.message } };
    throw cause;
  }
}
