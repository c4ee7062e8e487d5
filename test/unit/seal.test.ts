import assert from "node:assert/strict";
import { createDecipheriv, createSecretKey, randomBytes } from "node:crypto";
import { test } from "node:test";
import fc from "fast-check";
import { MillraceError } from "../../workers/errors.ts";
import { ENVELOPE_BYTES, isEnvelope, keyIdOf, openBytes, sealBytes } from "../../workers/seal/envelope.ts";
import { KeyRing, type KeyShelf, type WrappedKey } from "../../workers/seal/key-ring.ts";
import { type MasterKeys, masterKey, parseMasterKey } from "../../workers/seal/master-key.ts";
import { NO_SEAL } from "../../workers/seal/seal.ts";
import { joinTexts, splitTexts } from "../../workers/seal/texts.ts";

const hasCode =
  (code: string, message = /./) =>
  (error: unknown): boolean =>
    error instanceof MillraceError && error.code === code && message.test(error.message);

const mastersOf = (...fills: number[]): MasterKeys => {
  const [current, ...previous] = fills.map((fill) => masterKey(new Uint8Array(32).fill(fill)));
  return { current: current!, previous };
};

/** A shelf in memory; a transaction that fails takes all back. */
class MemoryShelf implements KeyShelf {
  rows: WrappedKey[] = [];
  isPlain = false;
  /** The transaction of that number fails at its end. */
  failsAt = 0;
  #transactions = 0;

  keys(): readonly WrappedKey[] {
    return this.rows;
  }
  add(key: WrappedKey): void {
    this.rows = [...this.rows, key];
  }
  rewrap(id: number, master: string, wrapped: Uint8Array): void {
    this.rows = this.rows.map((row) => (row.id === id ? { ...row, master, wrapped } : row));
  }
  hasPlain(): boolean {
    return this.isPlain;
  }
  countUses(id: number, uses: number): void {
    this.rows = this.rows.map((row) => (row.id === id ? { ...row, uses } : row));
  }
  atomically<T>(work: () => T): T {
    const before = this.rows;
    try {
      const result = work();
      if (++this.#transactions === this.failsAt) throw new Error("no space");
      return result;
    } catch (cause) {
      this.rows = before;
      throw cause;
    }
  }
}

function ringOf(shelf: KeyShelf, ...fills: number[]): KeyRing {
  const ring = new KeyRing(mastersOf(...fills), shelf);
  ring.prepare();
  return ring;
}

test("a sealed value is AES-256-GCM as the format says: another implementation opens it by the page alone", () => {
  const key = randomBytes(32);
  const plain = Buffer.from("what a device said");
  const envelope = sealBytes(createSecretKey(key), 7, "blocks/1/2", plain);
  assert.equal(envelope.length, plain.length + ENVELOPE_BYTES);
  assert.equal(envelope.subarray(0, 4).toString("hex"), "4d525301");
  assert.equal(envelope.readUInt32LE(4), 7);
  assert.equal(keyIdOf(envelope), 7);
  const decipher = createDecipheriv("aes-256-gcm", key, envelope.subarray(8, 20));
  decipher.setAAD(Buffer.concat([envelope.subarray(0, 8), Buffer.from("blocks/1/2")]));
  decipher.setAuthTag(envelope.subarray(-16));
  assert.deepEqual(Buffer.concat([decipher.update(envelope.subarray(20, -16)), decipher.final()]), plain);
});

test("any bytes come back from their place, and from no other place, key or changed bit", () => {
  const key = createSecretKey(randomBytes(32));
  const other = createSecretKey(randomBytes(32));
  fc.assert(
    fc.property(
      fc.uint8Array({ maxLength: 300 }),
      fc.string(),
      fc.string(),
      fc.nat(),
      (plain, place, elsewhere, at) => {
        const envelope = sealBytes(key, 1, place, plain);
        assert.deepEqual(new Uint8Array(openBytes(key, place, envelope)!), plain);
        assert.equal(openBytes(other, place, envelope), null);
        if (!Buffer.from(elsewhere).equals(Buffer.from(place)))
          assert.equal(openBytes(key, elsewhere, envelope), null);
        const bit = at % (envelope.length * 8);
        envelope[bit >> 3]! ^= 1 << (bit & 7);
        assert.ok(!isEnvelope(envelope) || openBytes(key, place, envelope) === null);
      },
    ),
  );
});

test("no nonce comes twice", () => {
  const key = createSecretKey(randomBytes(32));
  const nonces = new Set<string>();
  for (let at = 0; at < 20_000; at++)
    nonces.add(sealBytes(key, 1, "", new Uint8Array()).subarray(8, 20).toString("latin1"));
  assert.equal(nonces.size, 20_000);
});

test("a ring opens what another of the same store sealed, under either master key, and nothing else", () => {
  const shelf = new MemoryShelf();
  const first = ringOf(shelf, 1);
  const sealed = first.text("p", "old");
  const reader = new KeyRing(mastersOf(1), shelf);
  reader.learn(mastersOf(2, 1));
  const second = ringOf(shelf, 2, 1);
  assert.ok(second.wrapsByOther());
  second.rewrap(mastersOf(2, 1));
  assert.ok(!second.wrapsByOther());
  assert.ok(shelf.rows.every(({ master }) => master === mastersOf(2).current.id));
  const later = second.text("p", "new");
  assert.notEqual(keyIdOf(later), keyIdOf(sealed));
  for (const ring of [second, reader, ringOf(shelf, 2)]) {
    assert.equal(ring.openText("p", sealed), "old");
    assert.equal(ring.openText("p", later), "new");
    assert.deepEqual(ring.name("d", "x"), first.name("d", "x"));
  }
  assert.throws(
    () => new KeyRing(mastersOf(1), shelf).openText("p", sealed),
    hasCode("E_SEAL", /no data key/),
  );
  assert.throws(() => second.openText("q", sealed), hasCode("E_SEAL", /changed or moved/));
});

test("what was stored without a key is given out only while that is allowed", () => {
  const shelf = new MemoryShelf();
  const ring = ringOf(shelf, 1);
  assert.throws(() => ring.openText("p", "plain"), hasCode("E_SEAL", /not sealed/));
  assert.throws(() => ring.openBytes("p", Buffer.from("plain")), hasCode("E_SEAL", /not sealed/));
  shelf.isPlain = true;
  assert.equal(ring.openText("p", "plain"), "plain");
  assert.throws(() => NO_SEAL.openText("p", ring.text("p", "x")), hasCode("E_SEAL", /no key was given/));
});

test("a key that could not be stored never seals anything", () => {
  for (let failsAt = 1; failsAt <= 6; failsAt++) {
    const shelf = new MemoryShelf();
    shelf.failsAt = failsAt;
    const ring = new KeyRing(mastersOf(1), shelf);
    const attempt = (work: () => void): void => {
      try {
        work();
      } catch (cause) {
        assert.equal((cause as Error).message, "no space");
        work();
      }
    };
    attempt(() => ring.prepare());
    const before = ring.text("p", "before");
    attempt(() => ring.rewrap(mastersOf(2, 1)));
    const after = ring.text("p", "after");
    const reader = new KeyRing(mastersOf(2), shelf);
    assert.equal(reader.openText("p", before), "before");
    assert.equal(reader.openText("p", after), "after");
  }
});

test("uses of a key are counted ahead, and a used-up key gives way to a new one", () => {
  const shelf = new MemoryShelf();
  const ring = ringOf(shelf, 1);
  const id = keyIdOf(ring.text("p", ""));
  assert.equal(shelf.rows.find((row) => row.id === id)?.uses, 2 ** 20);
  // A start counts from what was reserved.
  const next = ringOf(shelf, 1);
  assert.equal(keyIdOf(next.text("p", "")), id);
  assert.equal(shelf.rows.find((row) => row.id === id)?.uses, 2 ** 21);
  shelf.countUses(id, 2 ** 31 - 1);
  const fresh = ringOf(shelf, 1);
  assert.notEqual(keyIdOf(fresh.text("p", "")), id);
  assert.throws(
    () => new KeyRing(mastersOf(1), new MemoryShelf()).text("p", ""),
    hasCode("E_SEAL", /prepared/),
  );
});

test("names are the same for the same text, and tell of no other place where it stands", () => {
  const shelf = new MemoryShelf();
  const ring = ringOf(shelf, 1);
  assert.deepEqual(ring.name("results/q", "k"), ringOf(shelf, 1).name("results/q", "k"));
  assert.notDeepEqual(ring.name("results/q", "k"), ring.name("results/r", "k"));
  assert.notDeepEqual(ring.name("results/q", "k"), ringOf(new MemoryShelf(), 1).name("results/q", "k"));
  assert.equal(ring.name("results/q", "k").length, 16);
});

test("a key is read as hex or Base64, and a refusal does not show it", () => {
  const key = randomBytes(32);
  const { id } = masterKey(key);
  for (const text of [key.toString("hex"), key.toString("base64"), `  ${key.toString("base64url")}\n`])
    assert.equal(parseMasterKey(text, "here").id, id);
  const wrong = key.toString("hex").slice(1);
  assert.throws(
    () => parseMasterKey(wrong, "the file f"),
    (error: unknown) => {
      assert.ok(hasCode("E_KEY", /the file f holds no key.*63 characters.*openssl rand/)(error));
      return !(error as Error).message.includes(wrong.slice(0, 8));
    },
  );
  assert.throws(() => masterKey(new Uint8Array(31)), hasCode("E_KEY"));
});

test("texts that were joined come apart again", () => {
  const text = fc.string().filter((value) => !value.includes("\0"));
  fc.assert(
    fc.property(fc.array(text, { minLength: 1, maxLength: 4 }), (texts) => {
      assert.deepEqual(splitTexts(joinTexts(...texts), texts.length), texts);
    }),
  );
});
