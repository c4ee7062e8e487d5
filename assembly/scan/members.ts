import { Dictionary, equalBytes } from "../memory/dictionary";

/** A member's path seen so far, and what it means for the stream. */
@unmanaged
export class Member {
  /** Id of the object it stands in, -1 at the top. */
  parent: i32;
  /** Its own name within `Members.paths`: the path's last part. */
  nameOffset: u32;
  nameLength: u32;
  /** Column index; -1 none yet; -2 kept verbatim instead. */
  column: i32;
  /** Rank among the time fields, -1 when it is none. */
  timeRank: i32;
  /** 1 when a declared field lies below it. */
  hasDeclared: u32;
}

export const NO_COLUMN: i32 = -1;
export const VERBATIM: i32 = -2;

const MEMBER_SIZE: u32 = offsetof<Member>();
const CACHE_SIZE: u32 = 512;
const K: u64 = 0x9e3779b97f4a7c15;

/**
 * Paths to members by dense ids. The usual look-up is one load, one multiplication and one comparison, whatever the
 * order of the members: a small cache by the name's first bytes and the parent. What misses it goes by the whole path.
 */
@unmanaged
export class Members {
  paths: Dictionary;
  members: usize; // Member[capacity]
  capacity: u32;
  cache: usize; // u32[CACHE_SIZE], id + 1
  scratch: usize;
  scratchSize: u32;

  static create(): Members {
    const self = changetype<Members>(heap.alloc(offsetof<Members>()));
    self.paths = Dictionary.create();
    self.capacity = 64;
    self.members = heap.alloc(64 * MEMBER_SIZE);
    self.cache = heap.alloc(CACHE_SIZE << 2);
    memory.fill(self.cache, 0, CACHE_SIZE << 2);
    self.scratchSize = 256;
    self.scratch = heap.alloc(256);
    return self;
  }

  dispose(): void {
    this.paths.dispose();
    heap.free(this.members);
    heap.free(this.cache);
    heap.free(this.scratch);
    heap.free(changetype<usize>(this));
  }

  @inline member(id: u32): Member {
    return changetype<Member>(this.members + id * MEMBER_SIZE);
  }

  /** The id of a name inside an object. Reads up to 8 bytes from `name`, used or not. */
  @inline find(parent: i32, name: usize, length: u32): u32 {
    const first = load<u64>(name) & (length >= 8 ? ~(<u64>0) : (<u64>1 << (<u64>length << 3)) - 1);
    const hash = (first ^ (<u64>length << 56) ^ <u64>(parent + 1)) * K;
    const slot = this.cache + (<u32>(hash >> 55) << 2);
    const cached = load<u32>(slot);
    if (cached != 0) {
      const member = this.member(cached - 1);
      if (
        member.nameLength == length &&
        member.parent == parent &&
        equalBytes(this.paths.bytes.data + member.nameOffset, name, length)
      ) {
        return cached - 1;
      }
    }
    return this.findSlowly(parent, name, length, slot);
  }

  private findSlowly(parent: i32, name: usize, length: u32, slot: usize): u32 {
    let at: u32 = 0;
    const parentLength: u32 = parent < 0 ? 0 : this.paths.length(parent) + 1;
    const total = parentLength + length;
    if (total > this.scratchSize) {
      heap.free(this.scratch);
      this.scratchSize = total << 1;
      this.scratch = heap.alloc(this.scratchSize);
    }
    if (parent >= 0) {
      at = this.paths.length(parent);
      memory.copy(this.scratch, this.paths.pointer(parent), at);
      store<u8>(this.scratch + at, 0x2e);
      at++;
    }
    memory.copy(this.scratch + at, name, length);
    const id = this.intern(this.scratch, total, parent, at, length);
    store<u32>(slot, id + 1);
    return id;
  }

  /** The id of a whole path; `nameAt` and `nameLength` tell its last part. */
  intern(path: usize, length: u32, parent: i32, nameAt: u32, nameLength: u32): u32 {
    const known = this.paths.count;
    const id = this.paths.intern(path, length);
    if (id < known) return id;
    if (id == this.capacity) {
      this.capacity <<= 1;
      this.members = heap.realloc(this.members, this.capacity * MEMBER_SIZE);
    }
    const member = this.member(id);
    member.parent = parent;
    member.nameOffset = this.paths.entry(id).offset + nameAt;
    member.nameLength = nameLength;
    member.column = NO_COLUMN;
    member.timeRank = -1;
    member.hasDeclared = 0;
    return id;
  }
}
