/**
 * Programs by chance: captured somewhere, their kernel killed, restored. What a restore says to be as it was is compared
 * with a fork that was made before, object by object.
 */
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import type { Session } from "../../src/sdk/index.ts";
import { suiteHome } from "../support/suite.ts";

const PROGRAMS = Number(process.env.EXECUTE_CODE_PROGRAMS ?? 25);
const FIRST_SEED = Number(process.env.EXECUTE_CODE_SEED ?? 1);
const DESCRIBE = readFileSync(new URL("../support/likeness.py", import.meta.url), "utf8");

const { client } = await suiteHome();

/** Numbers from 0 to 1, the same for the same seed. Source: T. Ettinger, mulberry32. */
function chance(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Makes cells with classes, closures, shared and cyclic data, what no capture can hold, and effects outside. */
class Program {
  readonly cells = ["import hashlib"];
  readonly #chance: () => number;
  readonly #names: string[] = [];
  readonly #classes: string[] = [];
  readonly #functions: string[] = [];
  readonly #makers: string[] = [];
  #number = 0;

  constructor(random: () => number) {
    this.#chance = random;
    const cells = 3 + Math.floor(random() * 6);
    for (let cell = 0; cell < cells; cell++) {
      const lines = Array.from({ length: 1 + Math.floor(random() * 4) }, () => this.#line());
      if (random() < 0.25) lines.push(`open('out${cell}', 'w').write('x') and None`);
      this.cells.push(lines.join("\n"));
    }
  }

  #one<T>(of: readonly T[]): T {
    return of[Math.floor(this.#chance() * of.length)]!;
  }

  #new(letter: string): string {
    return `${letter}${++this.#number}`;
  }

  #value(): string {
    const random = this.#chance();
    if (random < 0.45 && this.#names.length > 0) return this.#one(this.#names);
    if (random < 0.55 && this.#classes.length > 0) return `${this.#one(this.#classes)}()`;
    if (random < 0.6 && this.#functions.length > 0) return this.#one(this.#functions);
    if (random < 0.65 && this.#classes.length > 0) return this.#one(this.#classes);
    if (random < 0.85) {
      return this.#one(["1", "'t'", "None", "hashlib.sha256(b'x')", "[]", "{}", "[1, 2]", "{'k': [3]}"]);
    }
    return `[${this.#value()}, ${this.#value()}]`;
  }

  #line(): string {
    const random = this.#chance();
    if (random < 0.3 || this.#names.length === 0) return this.#assignment();
    if (random < 0.42) return this.#class();
    const name = this.#one(this.#names);
    if (random < 0.56) return this.#function();
    if (random < 0.62 && this.#makers.length > 0) {
      const made = this.#one(this.#makers);
      this.#names.push(this.#new("s"));
      return `${this.#names.at(-1)} = ${made}()`;
    }
    if (random < 0.72) return `if isinstance(${name}, list): ${this.#one(this.#names)}_ = 0`;
    if (random < 0.82) return `if type(${name}) is list: ${name}.append(${this.#value()})`;
    if (random < 0.88 && this.#classes.length > 0) {
      return `${this.#one(this.#classes)}.${this.#one(["a", "b"])} = ${this.#value()}`;
    }
    if (random < 0.94) return `if type(${name}).__module__ == '__main__': ${name}.x = ${this.#value()}`;
    return `if callable(${name}) and not isinstance(${name}, type): ${name}()`;
  }

  #assignment(): string {
    const name = this.#chance() < 0.75 || this.#names.length === 0 ? this.#new("v") : this.#one(this.#names);
    const value = this.#value();
    if (!this.#names.includes(name)) this.#names.push(name);
    return `${name} = ${value}`;
  }

  #class(): string {
    const again = this.#chance() < 0.2 && this.#classes.length > 0;
    const name = again ? this.#one(this.#classes) : this.#new("C");
    const base =
      this.#chance() < 0.3 && !again && this.#classes.length > 0 ? this.#one(this.#classes) : "object";
    const attribute = this.#value();
    if (!again) this.#classes.push(name);
    const own = this.#one(["1", "[]", "hashlib.sha256()"]);
    return `class ${name}(${base}):\n    a = ${attribute}\n    def __init__(self): self.x = ${own}\n    def m(self): return self.x`;
  }

  #function(): string {
    if (this.#chance() < 0.6) {
      const value = this.#value();
      this.#functions.push(this.#new("f"));
      return `def ${this.#functions.at(-1)}(x=None, y=${value}): return y`;
    }
    this.#makers.push(this.#new("mk"));
    return `def ${this.#makers.at(-1)}():\n    n = [0]\n    def inner():\n        n[0] += 1\n        return n\n    return inner`;
  }
}

async function described(
  session: Session,
  names: readonly string[],
  leftOut: readonly string[],
): Promise<string> {
  const record = await session.execute(
    `${DESCRIBE}\nprint("\\n".join(describe(${JSON.stringify(names)}, ${JSON.stringify(leftOut)}, globals())))`,
  );
  expect(record.status, record.error?.traceback).toBe("ok");
  return record.stdout;
}

test(`${PROGRAMS} of them`, { timeout: 30_000 + PROGRAMS * 2_000 }, async () => {
  const counts = { restored: 0, recomputed: 0, lost: 0, "with a reason": 0 };
  for (let seed = FIRST_SEED; seed < FIRST_SEED + PROGRAMS; seed++) {
    const random = chance(seed);
    const { cells } = new Program(random);
    const captured = 1 + Math.floor(random() * (cells.length - 1));
    const name = `p${seed}`;
    await client.createSession({ name, snapshots: "named", capture: "named" });
    const session = await client.session(name);
    for (const [index, cell] of cells.entries()) {
      await session.execute(cell);
      if (index === captured) await session.capture("kept");
    }
    const [before] = await session.fork();
    process.kill((await session.show()).pid!, "SIGKILL");
    await expect.poll(async () => (await session.show()).state).toBe("crashed");
    const { variables } = await session.restore();
    for (const { outcome, reason } of variables) {
      counts[reason === null || outcome === "lost" ? outcome : "with a reason"] += 1;
    }
    const there = variables.filter(({ outcome }) => outcome !== "lost");
    const [names, doubtful] = [true, false].map((sure) =>
      there.filter(({ reason }) => (reason === null) === sure).map((variable) => variable.name),
    ) as [string[], string[]];
    expect(
      await described(session, names, doubtful),
      `seed ${seed}, captured after cell ${captured}:\n${cells.map((cell, index) => `# ${index}\n${cell}`).join("\n")}\n${JSON.stringify(variables)}\n`,
    ).toBe(await described(before!, names, doubtful));
    await session.close();
    await before!.close();
  }
  // They try what they shall.
  for (const [what, count] of Object.entries(counts)) expect(count, what).toBeGreaterThan(0);
});
