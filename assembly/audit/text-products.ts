import { Dictionary } from "../memory/dictionary";

/**
 * Of a dictionary's texts, the two products that a cell of a column adds, or zeros while a text was not hashed. A dictionary that
 * is kept from batch to batch keeps them: each of its texts is hashed once.
 */
@unmanaged
class Products {
  /** Of the dictionary; 0: nothing is here. */
  identity: u64;
  /** The numbers that the column's name gives. */
  low: u64;
  high: u64;
  /** u64[2 * capacity], filled up to `count`. */
  data: usize;
  capacity: u32;
  count: u32;
  /** The turn in which it was last used. */
  turn: u32;
  unused: u32;
}

const PRODUCTS: usize = offsetof<Products>();
const FIRST_TABLES: u32 = 8;
const FIRST_TEXTS: u32 = 64;
/** Larger ones are given back where another dictionary that takes the place needs less than a quarter. */
const LARGE_TEXTS: u32 = 4096;

let tables: usize = 0;
let tableCount: u32 = 0;
let turn: u32 = 0;

/** What `productsOf` gives from here on is valid until the next turn. */
export function beginTurn(): void {
  turn++;
}

/** Where the products of a dictionary's texts stand, 16 bytes each, for a column whose name gives these numbers. */
export function productsOf(dictionary: Dictionary, low: u64, high: u64): usize {
  let found = changetype<Products>(0);
  let oldest = changetype<Products>(0);
  for (let i: u32 = 0; i < tableCount; i++) {
    const table = changetype<Products>(tables + <usize>i * PRODUCTS);
    if (table.identity == dictionary.identity && table.low == low && table.high == high) {
      found = table;
      break;
    }
    if (table.turn == turn) continue;
    if (changetype<usize>(oldest) == 0 || table.turn < oldest.turn) oldest = table;
  }
  if (changetype<usize>(found) == 0) {
    found = changetype<usize>(oldest) == 0 ? addTables() : oldest;
    found.identity = dictionary.identity;
    found.low = low;
    found.high = high;
    found.count = 0;
  }
  found.turn = turn;
  fit(found, dictionary.count);
  return found.data;
}

/** Makes room for more dictionaries, all of which are in use. @returns the first of the new places */
function addTables(): Products {
  const count = max(FIRST_TABLES, tableCount * 2);
  const grown = heap.alloc(<usize>count * PRODUCTS);
  const before = <usize>tableCount * PRODUCTS;
  memory.copy(grown, tables, before);
  memory.fill(grown + before, 0, <usize>count * PRODUCTS - before);
  if (tables != 0) heap.free(tables);
  tables = grown;
  tableCount = count;
  return changetype<Products>(tables + before);
}

function fit(table: Products, count: u32): void {
  const isLarge = table.count == 0 && table.capacity > LARGE_TEXTS && count < table.capacity >> 2;
  if (count > table.capacity || isLarge) {
    const capacity = max(FIRST_TEXTS, count + (count >> 1));
    const data = heap.alloc(<usize>capacity << 4);
    memory.copy(data, table.data, <usize>table.count << 4);
    if (table.data != 0) heap.free(table.data);
    table.data = data;
    table.capacity = capacity;
  }
  memory.fill(table.data + (<usize>table.count << 4), 0, <usize>(count - table.count) << 4);
  table.count = count;
}
