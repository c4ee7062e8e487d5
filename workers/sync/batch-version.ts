/** The latest version of the batch format that is read and written here. */
export const BATCH_VERSION = 3;
/** In answers of who takes batches: the latest version that is read there. Without it that is 1. */
export const BATCH_VERSION_HEADER = "millrace-batch-version";
