/** The greatest seq that is committed; known to all who commit entries of the log. */
export class LogEnd {
  seq = 0;
}
