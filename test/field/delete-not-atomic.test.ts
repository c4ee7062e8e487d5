import assert from "node:assert/strict";
import { test } from "node:test";
import { BlockInspector } from "../../workers/store/block-inspector.ts";
import { CorruptBlocks } from "../../workers/store/corrupt-blocks.ts";
import { openForWriting } from "../../workers/store/database.ts";
import { prepareStatements } from "../../workers/store/statements.ts";
import { balanceOf, blockSeqs, flipBlockBit } from "../support/damage.ts";
import { Random } from "../support/random.ts";
import { realOperations } from "../support/real-blocks.ts";
import { NOW_US, StoreFixture } from "../support/store-fixtures.ts";

const inspector = await BlockInspector.create();

/** A process that dies in the middle is a transaction that is never committed: each step is made to be the last. */
test("delete-not-atomic: a block and what is known of it go together, wherever the process dies", (context) => {
  const fixture = new StoreFixture(context);
  fixture.commit(...realOperations("s", [3, 4, 5], NOW_US, new Random(1)));
  fixture.store.close();
  const [, seq] = blockSeqs(fixture.dir);
  flipBlockBit(fixture.dir, seq!);
  const steps = ["DELETE FROM blocks", "INSERT OR REPLACE INTO corrupt_blocks", "INSERT INTO losses"];
  for (const step of [...steps, null]) {
    const db = openForWriting(fixture.dir);
    const prepare = db.prepare.bind(db);
    let isDone = false;
    const dying = new Proxy(db, {
      get(target, name) {
        const value: unknown = Reflect.get(target, name, target);
        if (name !== "prepare") return typeof value === "function" ? value.bind(target) : value;
        return (sql: string) => {
          const statement = prepare(sql);
          if (step === null || !sql.startsWith(step)) return statement;
          return {
            run: () => {
              isDone = true;
              throw new Error("the process dies here");
            },
          };
        };
      },
    });
    const blocks = new CorruptBlocks(dying, prepareStatements(dying));
    const setAside = (): unknown =>
      blocks.setAside("log", [seq!], (block, stream) => inspector.inspect(block, stream), NOW_US);
    if (step === null) setAside();
    else assert.throws(setAside, /dies here/);
    assert.equal(isDone, step !== null);
    db.close();
    const corrupt = step === null ? 4 : 0;
    assert.deepEqual(balanceOf(fixture.dir, "s"), { accepted: 12, held: 12 - corrupt, corrupt });
  }
});
