import { Field } from "./field";

/** What a member's value is, before it is known where it goes. */
export const enum Kind {
  Null = 0,
  Bool = 1,
  /** i64 */
  Int = 2,
  /** f64 */
  Float = 3,
  Text = 4,
  /** A JSON array or object, kept as it stands. */
  Raw = 5,
}

/** One member of the row that is being read. */
@unmanaged
export class Member {
  bits: u64;
  kind: Kind;
  /** 0: no field of that path is known. */
  field: Field;
  path: usize;
  pathLength: u32;
  /** Text without its escapes; of a CSV cell that is a number or a bool, as it is spelled. */
  text: usize;
  textLength: u32;
  /** The value as it stands in the body. */
  raw: usize;
  rawEnd: usize;
  /** A later member of the same key takes its place. */
  isReplaced: u32;
}

const MEMBER_SIZE: u32 = offsetof<Member>();
let members: usize = 0;
let capacity: u32 = 0;
export let memberCount: u32 = 0;

export function clearMembers(): void {
  memberCount = 0;
}

@inline
export function memberAt(index: u32): Member {
  return changetype<Member>(members + <usize>index * MEMBER_SIZE);
}

/** Adds a null member. Moves the others in memory. */
export function addMember(field: Field, path: usize, pathLength: u32): Member {
  if (memberCount == capacity) {
    capacity = max<u32>(64, capacity << 1);
    members = members == 0 ? heap.alloc(capacity * MEMBER_SIZE) : heap.realloc(members, capacity * MEMBER_SIZE);
  }
  const member = memberAt(memberCount++);
  memory.fill(changetype<usize>(member), 0, MEMBER_SIZE);
  member.field = field;
  member.path = path;
  member.pathLength = pathLength;
  return member;
}

/** Chunks of memory that stay where they are until the row ends, for paths and unescaped text. */
let chunk: usize = 0;
let chunkUsed: u32 = 0;
let chunkBytes: u32 = 0;
const FIRST_CHUNK_BYTES: u32 = 64 << 10;

/** Frees the row's memory but the last chunk. Chunks are chained by their first word. */
export function clearRowMemory(): void {
  if (chunk == 0) return;
  let older = load<usize>(chunk);
  while (older != 0) {
    const next = load<usize>(older);
    heap.free(older);
    older = next;
  }
  if (chunkBytes > MAX_KEPT_CHUNK) {
    heap.free(chunk);
    chunk = 0;
    chunkBytes = 0;
    return;
  }
  store<usize>(chunk, 0);
  chunkUsed = 16;
}
const MAX_KEPT_CHUNK: u32 = 4 << 20;

/** Memory until the next `clearRowMemory`, with room for 16 bytes more. */
export function rowMemory(length: u32): usize {
  const needed = length + 16;
  if (chunk == 0 || chunkUsed + needed > chunkBytes) {
    const bytes = max<u32>(needed + 16, chunk == 0 ? FIRST_CHUNK_BYTES : chunkBytes << 1);
    const next = heap.alloc(bytes);
    store<usize>(next, chunk);
    chunk = next;
    chunkBytes = bytes;
    chunkUsed = 16;
  }
  const at = chunk + chunkUsed;
  chunkUsed += needed;
  return at;
}
