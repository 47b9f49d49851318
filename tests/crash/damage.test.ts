/**
 * Captures are damaged: bits of their contents and manifests are flipped, files cut short, exchanged or removed. It is
 * noticed; what is damaged and what needs it is told as lost, and the rest is as it was.
 */
import { copyFileSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import { DatabaseSync } from "node:sqlite";
import { expect, test } from "vitest";
import { z } from "zod";
import type { Client } from "../../src/sdk/index.ts";
import { testHome } from "../support/home.ts";
import { scaled, tell } from "./rounds.ts";

const ROUNDS = scaled(12, 200);
const SESSION = "c";

/** Large ones have a file each; the small ones are in the database. Some need others. */
const MAKE = `
import hashlib, os, random
class Point:
    def __init__(self, x): self.x = x
    def __repr__(self): return f"Point({self.x!r})"
def twice(x): return [x, x]
for number in range(6):
    globals()[f"large_{number}"] = os.urandom(40_000 + number)
    globals()[f"small_{number}"] = os.urandom(2_000 + number)
    globals()[f"tiny_{number}"] = random.random()
points = [Point(os.urandom(30_000)), Point(1)]
shared = [os.urandom(20_000)]
sharing = {"it": shared}
pairs = twice(os.urandom(25_000))
text = "글" * 20_000
`;

/** A digest of each value, and of what belongs together. */
const DIGESTS = `
import hashlib, json
def digest_of(value): return hashlib.sha256(repr(value).encode()).hexdigest()
names = [*(f"{kind}_{number}" for kind in ("large", "small", "tiny") for number in range(6)), "points", "shared", "sharing", "pairs", "text"]
print(json.dumps({name: digest_of(globals()[name]) for name in names if name in globals()}))
`;

const Manifest = z.looseObject({
  variables: z.array(z.looseObject({ name: z.string(), component: z.int().nullable() })),
  components: z.array(
    z.looseObject({ digest: z.string(), roots: z.array(z.string()), needs: z.array(z.int()) }),
  ),
  /** Of cells whose definitions are captured, by their names. */
  sources: z.record(z.string(), z.string()),
  blobs: z.array(z.object({ digest: z.string(), bytes: z.int() })),
});
type Manifest = z.infer<typeof Manifest>;

/** Does harm, and gives what undoes it. */
type Harm = (bytes: Buffer) => Buffer | null;

const HARMS: Readonly<Record<string, Harm>> = {
  "a bit flipped": (bytes) => {
    const at = Math.floor(Math.random() * bytes.length);
    const flipped = Buffer.from(bytes);
    flipped[at]! ^= 1 << Math.floor(Math.random() * 8);
    return flipped;
  },
  truncated: (bytes) => bytes.subarray(0, Math.floor(Math.random() * bytes.length)),
  "a page of zeros": (bytes) => {
    const at = Math.floor(Math.random() * bytes.length);
    return Buffer.from(bytes).fill(0, at, Math.min(bytes.length, at + 4_096));
  },
  removed: () => null,
};

test(`damaged captures (${ROUNDS} rounds)`, { timeout: 60_000 + ROUNDS * 5_000 }, async () => {
  await using home = await testHome();
  const { client } = home;
  await client.createSession({ name: SESSION, capture: "named" });
  expect((await client.execute({ session: SESSION, code: MAKE })).status).toBe("ok");
  const right = await digests(client);
  const capture = await client.capture(SESSION, "whole");
  const database = new DatabaseSync(path.join(home.home, "history.db"), { timeout: 10_000 });
  const stored = database.prepare("SELECT manifest FROM captures WHERE id = ?").get(capture.id)!
    .manifest as string;
  const manifest = Manifest.parse(JSON.parse(stored.slice(stored.indexOf("{"))));
  // Of the same state, and not to be harmed by what befalls the manifest of the other.
  await client.capture(SESSION, "spare");
  const kept = new Map(
    database
      .prepare("SELECT digest, data FROM small_contents")
      .all()
      .map(({ digest, data }) => [digest as string, Buffer.from(data as Uint8Array)]),
  );
  const counts = { lost: 0, restored: 0, unnoticed: 0, manifests: 0 };
  const kinds = Object.keys(HARMS);
  for (let round = 0; round < ROUNDS; round++) {
    const kind = kinds[round % kinds.length]!;
    const harm = HARMS[kind]!;
    // Every fifth time the manifest, which says what all the others are.
    const isManifest = round % 5 === 4;
    const { digest } = manifest.blobs[Math.floor(Math.random() * manifest.blobs.length)]!;
    const what = `${kind}: ${isManifest ? "the manifest" : digest}`;
    const undo = isManifest
      ? damageManifest(database, capture.id, stored)
      : damageContent(home.home, database, kept, digest, harm);
    try {
      if (isManifest) {
        await expect(client.restoreSession(SESSION, "whole"), what).rejects.toMatchObject({
          code: "unknown_capture",
        });
        await client.restoreSession(SESSION, "spare");
        expect(await digests(client), what).toEqual(right);
        counts.manifests += 1;
        continue;
      }
      const report = await client.restoreSession(SESSION, "whole");
      const now = await digests(client);
      const affected = needing(manifest, digest);
      const told = new Map(report.variables.map(({ name, outcome }) => [name, outcome]));
      let lost = 0;
      for (const [name, expected] of Object.entries(right)) {
        if (now[name] !== undefined) {
          expect(now[name], `${what}: ${name} is silently wrong`).toBe(expected);
          counts.restored += 1;
          continue;
        }
        expect(told.get(name), `${what}: ${name} is gone, and nobody said so`).toBe("lost");
        expect(affected, `${what}: ${name} is lost, and need not be`).toContain(name);
        lost += 1;
      }
      counts.lost += lost;
      // A bit that means nothing may be flipped.
      if (lost === 0 && affected.size > 0) counts.unnoticed += 1;
    } finally {
      undo();
    }
  }
  // Nothing of it stays.
  await client.restoreSession(SESSION, "whole");
  expect(await digests(client)).toEqual(right);
  database.close();
  tell(
    `${ROUNDS} rounds: ${counts.lost} variables told as lost, ${counts.restored} as they were, 0 silently wrong; ${counts.unnoticed} times nothing was lost by it; ${counts.manifests} damaged manifests, all refused, the other capture whole`,
  );
});

async function digests(client: Client): Promise<Record<string, string>> {
  const record = await client.execute({ session: SESSION, code: DIGESTS });
  expect(record.error).toBeNull();
  return JSON.parse(record.stdout) as Record<string, string>;
}

/** Variables that cannot be right without this content. */
function needing({ components, variables, sources }: Manifest, digest: string): Set<string> {
  const isSource = Object.values(sources).includes(digest);
  const isHit = (one: Manifest["components"][number]): boolean =>
    one.digest === digest || (isSource && one.roots.some((root) => /^[cf]:/.test(root)));
  const affected = new Set(components.flatMap((one, index) => (isHit(one) ? [index] : [])));
  for (let before = -1; before !== affected.size; ) {
    before = affected.size;
    for (const [index, { needs }] of components.entries()) {
      if (needs.some((one) => affected.has(one))) affected.add(index);
    }
  }
  return new Set(
    variables
      .filter(({ component }) => component !== null && affected.has(component))
      .map(({ name }) => name),
  );
}

function damageContent(
  home: string,
  database: DatabaseSync,
  small: ReadonlyMap<string, Buffer>,
  digest: string,
  harm: Harm,
): () => void {
  const data = small.get(digest);
  if (data !== undefined) {
    const damaged = harm(data);
    if (damaged === null) database.prepare("DELETE FROM small_contents WHERE digest = ?").run(digest);
    else database.prepare("UPDATE small_contents SET data = ? WHERE digest = ?").run(damaged, digest);
    const put = database.prepare("INSERT OR REPLACE INTO small_contents (digest, data) VALUES (?, ?)");
    return () => void put.run(digest, data);
  }
  const file = path.join(home, "captures", digest.slice(0, 2), `${digest}.zst`);
  copyFileSync(file, `${file}.kept`);
  const damaged = harm(readFileSync(file));
  if (damaged === null) rmSync(file);
  else writeFileSync(file, damaged);
  return () => {
    copyFileSync(`${file}.kept`, file);
    rmSync(`${file}.kept`);
  };
}

function damageManifest(database: DatabaseSync, id: string, stored: string): () => void {
  const write = database.prepare("UPDATE captures SET manifest = CAST(? AS TEXT) WHERE id = ?");
  const harm = Math.random() < 0.8 ? "a bit flipped" : "truncated";
  write.run(HARMS[harm]!(Buffer.from(stored)), id);
  return () => void write.run(Buffer.from(stored), id);
}
