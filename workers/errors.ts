/**
 * The one error class. `code` is stable (`E_…`); `message` tells a person what, where and what to do.
 * Expected outcomes are values; this is for what should not happen or cannot go on.
 */
export class MillraceError extends Error {
  readonly code: string;

  constructor(code: string, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.name = "MillraceError";
    this.code = code;
  }
}
