/** What every Store and its Placement must do. Run by the tests of each backend. */
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { HistoryPage, HistoryQuery } from "../../src/contract/api.ts";
import type { ErrorCode } from "../../src/contract/errors.ts";
import { Profile } from "../../src/contract/profile.ts";
import type { ExecutionRecord } from "../../src/contract/records.ts";
import type { Placement } from "../../src/memory/ports/placement.ts";
import type { AcceptedExecution, Store, StoredSession } from "../../src/memory/ports/store.ts";
import { aCapture, anExecution, aRecord, aSession, fullRecord } from "./samples.ts";

/** Storage of one test, empty at first. */
export interface StoreBackend {
  readonly store: Store;
  placement(owner: string): Placement;
  /** Closes the store and opens it again on the same storage. */
  reopen(): Promise<void>;
  remove(): Promise<void>;
}

const AT = "2026-11-22T10:00:00.000Z";

export function storeContract(name: string, open: () => Promise<StoreBackend>): void {
  describe(name, () => {
    let backend: StoreBackend;
    const store = (): Store => backend.store;

    beforeEach(async () => {
      backend = await open();
    });
    afterEach(() => backend.remove());

    async function openSession(fields: Partial<StoredSession> = {}): Promise<StoredSession> {
      const session = aSession(fields);
      await store().createSession(session);
      return session;
    }

    /** Accepts and finishes. */
    async function execute(
      session: StoredSession,
      accepted: Partial<AcceptedExecution> = {},
      record: Partial<ExecutionRecord> = {},
    ): Promise<string> {
      const execution = anExecution(session, accepted);
      await store().accept(execution);
      await store().finish({
        record: aRecord(execution, record),
        epoch: session.epoch,
        timeline: [],
        head: null,
      });
      return execution.id;
    }

    function search(query: Partial<HistoryQuery>): Promise<HistoryPage> {
      return store().search({ limit: 50, ...query });
    }

    async function found(query: string): Promise<string[]> {
      return (await search({ query })).executions.map((execution) => execution.id);
    }

    function refusal(code: ErrorCode): { code: ErrorCode; name: string } {
      return { code, name: "ExecuteCodeError" };
    }

    describe("sessions", () => {
      test("come back as they were stored, by name and by id", async () => {
        const session = await openSession({
          name: "분석",
          python: "/usr/bin/python3",
          generation: 2,
          revision: 7,
          profile: Profile.parse({
            read: ["/data"],
            allow_net: ["[::1]:80"],
            memory_bytes: 2 ** 40,
            wall_ms: 5,
          }),
        });
        expect(await store().findSession("분석")).toEqual(session);
        expect(await store().findSession(session.id)).toEqual(session);
        expect(await store().findSession("other")).toBeNull();
        expect(await store().findSession("sess_00000000000000000000000zzz")).toBeNull();
      });

      test("have a name of their own while they are open", async () => {
        const first = await openSession();
        await expect(store().createSession(aSession())).rejects.toMatchObject(refusal("session_exists"));
        await store().closeSession(first.id, 1, AT);
        const second = await openSession();
        expect(await store().findSession("main")).toEqual(second);
        await store().closeSession(second.id, 1, "2026-11-22T11:00:00.000Z");
        expect(await store().findSession("main")).toMatchObject({ id: second.id });
        expect(await store().findSession(first.id)).toEqual({ ...first, closed_at: AT });
      });

      test("that have run nothing can be dropped, as if they had not been; others cannot", async () => {
        const dropped = await openSession({ name: "dropped" });
        await store().dropSession(dropped.id, 1);
        expect(await store().findSession("dropped")).toBeNull();
        expect(await store().listSessions({ closed: true })).toEqual([]);
        await expect(store().dropSession(dropped.id, 1)).rejects.toMatchObject(refusal("unknown_session"));
        const used = await openSession({ name: "dropped" });
        await execute(used);
        await expect(store().dropSession(used.id, 1)).rejects.toThrow();
        await backend.reopen();
        expect(await store().findSession("dropped")).toMatchObject({ id: used.id });
      });

      test("are listed most recently used first, closed ones only when asked for", async () => {
        const old = await openSession({ name: "old", used_at: "2026-11-20T00:00:00.000Z" });
        const recent = await openSession({ name: "recent", used_at: "2026-11-21T00:00:00.000Z" });
        const closed = await openSession({ name: "closed", used_at: "2026-11-22T00:00:00.000Z" });
        await store().closeSession(closed.id, 1, AT);
        const names = async (all: boolean) =>
          (await store().listSessions({ closed: all })).map((one) => one.name);
        expect(await names(false)).toEqual(["recent", "old"]);
        expect(await names(true)).toEqual(["closed", "recent", "old"]);
        await execute(old, { accepted_at: "2026-11-22T09:00:00.000Z" });
        expect(await names(false)).toEqual(["old", "recent"]);
        expect(recent.used_at).toBe("2026-11-21T00:00:00.000Z");
      });

      test("keep generation and revision", async () => {
        const session = await openSession();
        await store().beginGeneration(session.id, 1, 4);
        await execute(session, {}, { revision: 9 });
        expect(await store().findSession("main")).toMatchObject({ generation: 4, revision: 9 });
        await execute(session, {}, { revision: 0, status: "interrupted" });
        expect(await store().findSession("main")).toMatchObject({ generation: 4, revision: 9 });
      });
    });

    describe("installations", () => {
      test("come back in order, and the session has what they left it with", async () => {
        const session = await openSession();
        const six = { name: "six", version: "1.17.0" };
        const first = { requested: ["six>=1"], installed: [six], at: AT, execution: null };
        const second = {
          requested: ["six"],
          installed: [],
          at: AT,
          execution: "exec_00000000000000000000000zzz",
        };
        await store().appendInstallation(session.id, 1, first, [six]);
        await store().appendInstallation(session.id, 1, second, [six]);
        await backend.reopen();
        expect(await store().listInstallations(session.id)).toEqual([first, second]);
        expect(await store().listInstallations("sess_00000000000000000000000zzz")).toEqual([]);
        expect(await store().findSession("main")).toMatchObject({ packages: [six] });
        const late = store().appendInstallation(session.id, 2, first, []);
        await expect(late).rejects.toMatchObject(refusal("stale_epoch"));
      });
    });

    describe("executions", () => {
      test("come back exactly as they were finished", async () => {
        const session = await openSession();
        const execution = anExecution(session, { code: "print('\ud800')\u0000 # 평균 \u{1F600}" });
        expect(await store().accept(execution)).toEqual({ kind: "accepted" });
        const record = fullRecord(execution);
        const timeline = [["stdout", 5] as const, ["display", 1] as const];
        await store().finish({ record, epoch: 1, timeline, head: null });
        expect(await store().getExecution(execution.id)).toStrictEqual({ record, timeline });
        await backend.reopen();
        expect(await store().getExecution(execution.id)).toStrictEqual({ record, timeline });
      });

      test("are running and empty until they are finished", async () => {
        const session = await openSession({ generation: 2, revision: 5 });
        const execution = anExecution(session, { code: "while True: pass" });
        await store().accept(execution);
        const empty = aRecord(execution, {
          status: "running",
          generation: 2,
          revision: 5,
          duration_ms: 0,
          cpu_ms: 0,
          peak_memory_bytes: 0,
        });
        expect(await store().getExecution(execution.id)).toEqual({ record: empty, timeline: [] });
        await store().markStarted(execution.id, 1, AT);
        const started = { ...empty, started_at: AT };
        expect(await store().getExecution(execution.id)).toEqual({ record: started, timeline: [] });
        expect((await search({})).executions).toMatchObject([{ id: execution.id, status: "running" }]);
      });

      test("that nobody accepted are unknown", async () => {
        const session = await openSession();
        const execution = anExecution(session);
        expect(await store().getExecution(execution.id)).toBeNull();
        const finish = store().finish({ record: aRecord(execution), epoch: 1, timeline: [], head: null });
        await expect(finish).rejects.toMatchObject(refusal("unknown_execution"));
        const marked = store().markStarted(execution.id, 1, AT);
        await expect(marked).rejects.toMatchObject(refusal("unknown_execution"));
        const accepted = store().accept(anExecution(aSession()));
        await expect(accepted).rejects.toMatchObject(refusal("unknown_session"));
      });

      test("stay as they were finished first", async () => {
        const session = await openSession();
        const execution = anExecution(session);
        await store().accept(execution);
        const record = aRecord(execution, { stdout: "first" });
        await store().finish({ record, epoch: 1, timeline: [], head: null });
        await store().finish({
          record: { ...record, stdout: "second" },
          epoch: 1,
          timeline: [],
          head: execution.id,
        });
        expect((await store().getExecution(execution.id))?.record.stdout).toBe("first");
        expect(await store().findSession("main")).toMatchObject({ head: null });
      });

      test("carry what they wrote late, from before their end or after it", async () => {
        const session = await openSession();
        const execution = anExecution(session);
        await store().accept(execution);
        const { id } = execution;
        await store().appendLate([{ execution: id, stream: "stdout", text: "a" }], 1);
        const told = {
          execution: "exec_00000000000000000000000zzz",
          stream: "stdout" as const,
          text: "told",
        };
        await store().finish({
          record: aRecord(execution, { late: [told] }),
          epoch: 1,
          timeline: [],
          head: null,
        });
        const later = [
          { execution: id, stream: "stderr" as const, text: "e" },
          { execution: id, stream: "stdout" as const, text: "b \ud800 \u0000" },
        ];
        await store().appendLate(later, 1);
        await backend.reopen();
        expect((await store().getExecution(id))?.record.late).toEqual([
          { execution: id, stream: "stdout", text: "ab \ufffd \u0000" },
          { execution: id, stream: "stderr", text: "e" },
          told,
        ]);
        await expect(store().appendLate(later, 2)).rejects.toMatchObject(refusal("stale_epoch"));
        const unknown = [{ execution: told.execution, stream: "stdout" as const, text: "x" }];
        await expect(store().appendLate(unknown, 1)).rejects.toMatchObject(refusal("unknown_execution"));
      });

      test("may be large", async () => {
        const session = await openSession();
        const stdout = `${"x".repeat(1_023)}\n`.repeat(5 * 1_024);
        const id = await execute(
          session,
          { code: `# ${"y".repeat(2_000_000)}` },
          { stdout, durability: "full" },
        );
        expect((await store().getExecution(id))?.record.stdout).toBe(stdout);
        expect((await search({ query: "yyyy xxxx" })).executions[0]).toMatchObject({
          id,
          code: `# ${"y".repeat(398)}`,
          stdout: "x".repeat(200),
        });
      });

      test("tell which contents they refer to", async () => {
        const session = await openSession();
        const execution = anExecution(session);
        await store().accept(execution);
        expect(await store().refersTo("a".repeat(64))).toBe(false);
        await store().finish({ record: fullRecord(execution), epoch: 1, timeline: [], head: null });
        expect(await store().refersTo("a".repeat(64))).toBe(true);
        expect(await store().refersTo("b".repeat(64))).toBe(true);
        expect(await store().refersTo("c".repeat(64))).toBe(false);
      });

      test("are counted", async () => {
        const session = await openSession();
        await execute(session);
        await store().accept(anExecution(session));
        const stats = await store().stats();
        expect(stats).toMatchObject({ executions: 2, sessions: 1 });
        expect(stats.bytes).toBeGreaterThan(0);
        expect(stats.schema).toBeGreaterThan(0);
      });
    });

    describe("lines", () => {
      /** Finishes an execution that began with the state after `parent`, and moves the session's head to it. */
      async function follow(
        session: StoredSession,
        parent: string | null,
        fields: Partial<ExecutionRecord> = {},
        head?: string | null,
      ): Promise<string> {
        const execution = anExecution(session, { code: `# after ${parent}` });
        await store().accept(execution);
        const record = aRecord(execution, { parent, ...fields });
        await store().finish({
          record,
          epoch: session.epoch,
          timeline: [],
          head: head === undefined ? execution.id : head,
        });
        return execution.id;
      }

      async function lineOf(head: string | null): Promise<string[]> {
        const ids = (await store().line(head)).map(({ id }) => id);
        expect(await store().lineIds(head)).toEqual(ids);
        return ids;
      }

      test("a session's head is the execution that was finished last, or what it is set to", async () => {
        const session = await openSession();
        expect(await store().findSession("main")).toMatchObject({ head: null });
        const first = await follow(session, null);
        expect(await store().findSession("main")).toMatchObject({ head: first });
        // It failed, and its changes were undone.
        await follow(session, first, { status: "error" }, first);
        expect(await store().findSession("main")).toMatchObject({ head: first });
        const second = await follow(session, first);
        await store().setHead(session.id, 1, first);
        await backend.reopen();
        expect(await store().findSession("main")).toMatchObject({ head: first });
        await store().setHead(session.id, 1, null);
        expect((await store().listSessions({ closed: false }))[0]).toMatchObject({ head: null });
        expect((await store().getExecution(second))?.record.parent).toBe(first);
      });

      test("are told from their beginning to the head, without what was abandoned", async () => {
        const session = await openSession();
        const first = await follow(session, null);
        const abandoned = await follow(session, first);
        const second = await follow(session, first, {
          status: "error",
          revision: 3,
          variables: { added: [{ name: "x", type: "int", preview: "1" }], changed: [], deleted: ["y"] },
          effects: [{ kind: "write", target: "/work/a", count: 2 }],
        });
        const third = await follow(session, second);
        await backend.reopen();
        expect(await lineOf(third)).toEqual([first, second, third]);
        expect(await lineOf(abandoned)).toEqual([first, abandoned]);
        expect(await lineOf(null)).toEqual([]);
        expect(await lineOf("exec_00000000000000000000000zzz")).toEqual([]);
        expect((await store().line(third))[1]).toEqual({
          id: second,
          session_id: session.id,
          revision: 3,
          parent: first,
          code: `# after ${first}`,
          status: "error",
          started_at: "2026-11-22T09:00:01.000Z",
          variables: { added: [{ name: "x", type: "int", preview: "1" }], changed: [], deleted: ["y"] },
          effects: [{ kind: "write", target: "/work/a", count: 2 }],
        });
      });

      test("go through forks", async () => {
        const parent = await openSession();
        const first = await follow(parent, null);
        const second = await follow(parent, first);
        const lineage = { session: "main", session_id: parent.id, revision: 1, execution: first };
        const child = await openSession({
          name: "main.1",
          forked_from: lineage,
          folder: parent.id,
          head: first,
          snapshots: "named",
          capture: "named",
        });
        const theirs = await follow(child, first);
        const grandchild = await openSession({
          name: "main.1.1",
          forked_from: { ...lineage, session: "main.1", session_id: child.id, execution: theirs },
          folder: parent.id,
          head: theirs,
        });
        const last = await follow(grandchild, theirs);
        await backend.reopen();
        expect(await lineOf(last)).toEqual([first, theirs, last]);
        expect((await store().line(last)).map((one) => one.session_id)).toEqual([
          parent.id,
          child.id,
          grandchild.id,
        ]);
        expect(await lineOf(second)).toEqual([first, second]);
        expect(await store().findSession("main.1")).toMatchObject({
          forked_from: lineage,
          folder: parent.id,
          head: theirs,
          snapshots: "named",
          capture: "named",
        });
        expect(await store().findSession("main")).toMatchObject({ forked_from: null, folder: parent.id });
      });

      test("of thousands of executions are told whole", async () => {
        const session = await openSession();
        const ids: string[] = [];
        for (let step = 0; step < 2_000; step++) ids.push(await follow(session, ids.at(-1) ?? null));
        expect(await lineOf(ids.at(-1)!)).toEqual(ids);
      });

      test("a session's executions are listed in the order of acceptance, in pages", async () => {
        const session = await openSession();
        const other = await openSession({ name: "other" });
        const [early, late] = [anExecution(session), anExecution(session)];
        await store().accept(early);
        await store().accept(late);
        const theirs = await execute(other);
        expect(await store().listExecutions(session.id, null, 10)).toEqual([]);
        const records = [aRecord(early, { parent: null }), aRecord(late, { parent: early.id })];
        for (const record of records.toReversed()) {
          await store().finish({ record, epoch: 1, timeline: [["x", 1]], head: record.id });
        }
        const third = await follow(session, late.id);
        const all = await store().listExecutions(session.id, null, 10);
        expect(all.map(({ record }) => record.id)).toEqual([early.id, late.id, third]);
        expect(all.slice(0, 2)).toEqual(records.map((record) => ({ record, timeline: [["x", 1]] })));
        const page = await store().listExecutions(session.id, null, 2);
        expect(page.map(({ record }) => record.id)).toEqual([early.id, late.id]);
        const rest = await store().listExecutions(session.id, late.id, 2);
        expect(rest.map(({ record }) => record.id)).toEqual([third]);
        expect(await store().listExecutions(session.id, third, 2)).toEqual([]);
        expect((await store().listExecutions(other.id, null, 2)).map(({ record }) => record.id)).toEqual([
          theirs,
        ]);
        expect(await store().listExecutions("sess_00000000000000000000000zzz", null, 2)).toEqual([]);
      });
    });

    describe("captures", () => {
      const digest = (letter: string): string => letter.repeat(64);

      test("come back as they were kept, newest first", async () => {
        const session = await openSession();
        const other = await openSession({ name: "other" });
        const old = aCapture(session, { created_at: "2026-11-22T09:00:00.000Z" });
        const named = aCapture(session, {
          name: "before \ud800 \u0000 it",
          execution: "exec_00000000000000000000000001",
          generation: 3,
          revision: 9,
          bytes: 2 ** 40,
          new_bytes: 5,
          created_at: AT,
        });
        const theirs = aCapture(other);
        for (const capture of [named, old, theirs]) await store().addCapture(1, capture, []);
        await backend.reopen();
        const stored = { ...named, name: "before \ufffd \u0000 it" };
        expect(await store().listCaptures(session.id)).toEqual([stored, old]);
        expect(await store().listCaptures(other.id)).toEqual([theirs]);
        expect(await store().listCaptures("sess_00000000000000000000000zzz")).toEqual([]);
      });

      test("share contents, which are needed as long as one of them is there", async () => {
        const session = await openSession();
        const other = await openSession({ name: "other" });
        const first = aCapture(session, {}, [digest("a"), digest("b")]);
        const second = aCapture(other, {}, [digest("b"), digest("c")]);
        await store().addCapture(1, first, []);
        await store().addCapture(1, second, []);
        const all = ["a", "b", "c", "d"].map(digest);
        expect((await store().keptContents(all)).toSorted()).toEqual(all.slice(0, 3));
        expect(await store().keptContents([])).toEqual([]);
        expect(await store().removeCaptures([first.id], [])).toEqual([digest("a")]);
        expect((await store().keptContents(all)).toSorted()).toEqual([digest("b"), digest("c")]);
        expect(await store().listCaptures(session.id)).toEqual([]);
        await backend.reopen();
        expect((await store().removeCaptures([first.id, second.id], [])).toSorted()).toEqual([
          digest("b"),
          digest("c"),
        ]);
        expect(await store().keptContents(all)).toEqual([]);
        expect(await store().removeCaptures([], [])).toEqual([]);
      });

      test("with the same content twice, or of an unknown session, are no harm", async () => {
        const session = await openSession();
        const twice = aCapture(session, {}, [digest("a"), digest("a")]);
        await store().addCapture(1, twice, []);
        expect(await store().listCaptures(session.id)).toEqual([twice]);
        expect(await store().removeCaptures([twice.id], [])).toEqual([digest("a")]);
        const nobody = aCapture(aSession());
        await expect(store().addCapture(1, nobody, [])).rejects.toMatchObject(refusal("unknown_session"));
        await store().addCapture(1, aCapture(session), []);
      });

      test("that are small are kept with them, also when they are pinned or shared", async () => {
        const session = await openSession();
        const [one, two] = [digest("a"), digest("b")];
        const data = Uint8Array.of(0, 255, 10);
        const first = aCapture(session, {}, [one, two]);
        const second = aCapture(session, {}, [two]);
        await store().addCapture(1, first, [
          { digest: one, data },
          { digest: two, data: new Uint8Array() },
        ]);
        await store().addCapture(1, second, [{ digest: two, data: new Uint8Array() }]);
        await backend.reopen();
        const found = await store().smallContents([digest("c"), one, two]);
        expect(found.map((small) => [small.digest, [...small.data]])).toEqual([
          [one, [0, 255, 10]],
          [two, []],
        ]);
        expect(await store().removeCaptures([first.id], [one])).toEqual([]);
        expect(await store().smallContents([one, two])).toHaveLength(2);
        expect(await store().removeCaptures([second.id], [])).toEqual([two]);
        expect((await store().smallContents([one, two])).map((small) => small.digest)).toEqual([one]);
      });
    });

    describe("idempotency", () => {
      const idempotency = { key: "key", digest: "digest", fresh: false };

      test("answers a repeat with the first execution", async () => {
        const session = await openSession();
        const first = anExecution(session, { idempotency });
        expect(await store().accept(first)).toEqual({ kind: "accepted" });
        const repeat = { ...anExecution(session), idempotency };
        expect(await store().accept(repeat)).toEqual({ kind: "duplicate", id: first.id });
        await backend.reopen();
        expect(await store().accept(repeat)).toEqual({ kind: "duplicate", id: first.id });
        expect((await store().stats()).executions).toBe(1);
      });

      test("refuses a key that was used for another request", async () => {
        const session = await openSession();
        await store().accept(anExecution(session, { idempotency }));
        const other = anExecution(session, { idempotency: { key: "key", digest: "other", fresh: false } });
        await expect(store().accept(other)).rejects.toMatchObject(refusal("idempotency_conflict"));
        expect(await store().getExecution(other.id)).toBeNull();
      });

      test("holds among requests that arrive together", async () => {
        const session = await openSession();
        const executions = Array.from({ length: 8 }, () => anExecution(session, { idempotency }));
        const answers = await Promise.all(executions.map((one) => store().accept(one)));
        expect(answers[0]).toEqual({ kind: "accepted" });
        const duplicate = { kind: "duplicate", id: executions[0]!.id };
        expect(answers.slice(1)).toEqual(Array.from({ length: 7 }, () => duplicate));
      });
    });

    describe("requests that arrive together", () => {
      test("fail each for itself", async () => {
        const session = await openSession();
        const [good, stale, last] = [
          anExecution(session),
          anExecution(session, { epoch: 7 }),
          anExecution(session),
        ];
        const settled = await Promise.allSettled([
          store().accept(good),
          store().createSession(aSession()),
          store().accept(stale),
          // The same execution again changes nothing.
          store().accept(good),
          store().accept(last),
        ]);
        expect(settled.map((one) => one.status)).toEqual([
          "fulfilled",
          "rejected",
          "rejected",
          "fulfilled",
          "fulfilled",
        ]);
        expect((await store().stats()).executions).toBe(2);
      });

      test("are all kept", async () => {
        const session = await openSession();
        const executions = Array.from({ length: 600 }, () => anExecution(session));
        await Promise.all(executions.map((one) => store().accept(one)));
        await Promise.all(
          executions.map((one, index) => {
            const durability = index % 2 === 0 ? ("full" as const) : ("relaxed" as const);
            return store().finish({
              record: aRecord(one, { durability }),
              epoch: 1,
              timeline: [],
              head: null,
            });
          }),
        );
        await backend.reopen();
        expect((await search({ status: "ok", limit: 500 })).executions).toHaveLength(500);
        expect((await store().stats()).executions).toBe(600);
      });
    });

    describe("epochs", () => {
      test("refuse every write of an owner that was replaced", async () => {
        const session = await openSession();
        const execution = anExecution(session);
        await store().accept(execution);
        const lease = await backend.placement("elsewhere").acquire(session.id);
        expect(lease).toEqual({ owner: "elsewhere", epoch: 2 });
        const writes = [
          () => store().accept(anExecution(session)),
          () => store().markStarted(execution.id, 1, AT),
          () => store().finish({ record: aRecord(execution), epoch: 1, timeline: [], head: null }),
          () => store().beginGeneration(session.id, 1, 2),
          () => store().closeSession(session.id, 1, AT),
          () => store().dropSession(session.id, 1),
          () => store().setHead(session.id, 1, execution.id),
          () => store().addCapture(1, aCapture(session), []),
          () =>
            store().appendInstallation(
              session.id,
              1,
              { requested: ["six"], installed: [], at: AT, execution: null },
              [],
            ),
          () => backend.placement("here").release(session.id, { owner: "here", epoch: 1 }),
        ];
        for (const write of writes) await expect(write()).rejects.toMatchObject(refusal("stale_epoch"));
        expect((await store().getExecution(execution.id))?.record.status).toBe("running");
        await store().finish({ record: aRecord(execution), epoch: 2, timeline: [], head: null });
        expect((await store().getExecution(execution.id))?.record.status).toBe("ok");
      });

      test("rise when a session changes hands, not when its owner comes back", async () => {
        const session = await openSession({ owner: "here", epoch: 3 });
        const here = backend.placement("here");
        expect(here.owner).toBe("here");
        expect(await here.acquire(session.id)).toEqual({ owner: "here", epoch: 3 });
        await backend.reopen();
        expect(await backend.placement("here").acquire(session.id)).toEqual({ owner: "here", epoch: 3 });
        await backend.placement("here").release(session.id, { owner: "here", epoch: 3 });
        expect(await backend.placement("here").acquire(session.id)).toEqual({ owner: "here", epoch: 4 });
        expect(await store().findSession(session.id)).toMatchObject({ owner: "here", epoch: 4 });
      });

      test("are of a session that exists", async () => {
        const acquired = backend.placement("here").acquire(aSession().id);
        await expect(acquired).rejects.toMatchObject(refusal("unknown_session"));
      });
    });

    describe("recovery", () => {
      test("interrupts what an earlier life of the owner left unfinished", async () => {
        const session = await openSession();
        const foreign = await openSession({ name: "foreign", owner: "elsewhere" });
        const done = await execute(session);
        const [waited, ran, other] = [anExecution(session), anExecution(session), anExecution(foreign)];
        for (const one of [waited, ran, other]) await store().accept(one);
        await store().markStarted(ran.id, 1, "2026-11-22T09:30:00.000Z");
        await backend.reopen();

        expect(await store().recover("here", AT)).toEqual([waited.id, ran.id]);
        const interrupted = { status: "interrupted", state: "lost", result: null, code: "x = 41" };
        expect((await store().getExecution(waited.id))?.record).toMatchObject({
          ...interrupted,
          error: { type: "Interrupted", message: expect.stringContaining("before it ran"), traceback: "" },
          effects: [],
        });
        expect((await store().getExecution(ran.id))?.record).toMatchObject({
          ...interrupted,
          started_at: "2026-11-22T09:30:00.000Z",
          error: { type: "Interrupted", message: expect.stringContaining("while it ran"), traceback: "" },
          effects: [expect.objectContaining({ kind: "unknown" })],
        });
        expect((await store().getExecution(done))?.record.status).toBe("ok");
        expect((await store().getExecution(other.id))?.record.status).toBe("running");
        expect(await store().recover("here", AT)).toEqual([]);
        expect(await found("while it ran")).toEqual([ran.id]);
      });
    });

    describe("search", () => {
      test("finds words and parts of words in code, output, result and error", async () => {
        const session = await openSession();
        const code = await execute(session, { code: "my_var = compute(1)" });
        const stdout = await execute(session, {}, { stdout: "the answer\n" });
        const stderr = await execute(session, {}, { stderr: "DeprecationWarning" });
        const result = await execute(session, {}, { result: { text: "DataFrame", mime: {} } });
        const error = {
          type: "ZeroDivisionError",
          message: "by zero",
          traceback: "",
          line: 1,
          column: 1,
          frames: [],
        };
        const failed = await execute(session, {}, { status: "error", error });
        expect(await found("my_var")).toEqual([code]);
        expect(await found("y_va")).toEqual([code]);
        expect(await found("answer")).toEqual([stdout]);
        expect(await found("WARNING")).toEqual([stderr]);
        expect(await found("dataframe")).toEqual([result]);
        expect(await found("ZeroDivisionError: by")).toEqual([failed]);
        expect(await found("absent")).toEqual([]);
      });

      test("finds changes of variables by name and value, in pages", async () => {
        const session = await openSession();
        const of = (preview: string) => ({ name: "df", type: "DataFrame", preview });
        const changes = (fields: Partial<ExecutionRecord["variables"]>): Partial<ExecutionRecord> => ({
          variables: { added: [], changed: [], deleted: [], ...fields },
        });
        const other = { name: 'a"b\n', type: "int", preview: "5" };
        const small = await execute(session, {}, changes({ added: [of("<DataFrame 10×2>"), other] }));
        const large = await execute(session, {}, changes({ changed: [of("<DataFrame 2000×2>")] }));
        const gone = await execute(session, { code: "del df" }, changes({ deleted: ["df"] }));
        await execute(session, { code: "'df'" });
        await store().accept(anExecution(session, { code: "df" }));
        const by = async (query: Partial<HistoryQuery>) =>
          (await search(query)).executions.map(({ id, variables }) => [id, variables]);
        const told = (change: string, preview: string | null) => [
          { change, name: "df", type: preview === null ? null : "DataFrame", preview },
        ];
        expect(await by({ variable: "df" })).toEqual([
          [gone, told("deleted", null)],
          [large, told("changed", "<DataFrame 2000×2>")],
          [small, told("added", "<DataFrame 10×2>")],
        ]);
        expect(await by({ variable: "df", where: "rows > 1000" })).toEqual([
          [large, told("changed", "<DataFrame 2000×2>")],
        ]);
        expect(await by({ where: "value = 5" })).toEqual([[small, [{ change: "added", ...other }]]]);
        expect(await by({ variable: other.name, where: "rows > 0" })).toEqual([]);
        expect(await by({ variable: "d" })).toEqual([]);
        expect(await by({ variable: "df", query: "del" })).toEqual([[gone, told("deleted", null)]]);
        expect(await by({ variable: "df", session: "other" })).toEqual([]);
        const first = await search({ variable: "df", limit: 2 });
        expect(first).toMatchObject({ executions: [{ id: gone }, { id: large }], next_cursor: large });
        const second = await search({ variable: "df", limit: 2, cursor: large });
        expect(second).toMatchObject({ executions: [{ id: small }], next_cursor: null });
        expect((await search({})).executions[0]).not.toHaveProperty("variables");
      });

      test("tells the execution that one began with", async () => {
        const session = await openSession();
        const first = await execute(session);
        await execute(session, {}, { parent: first });
        expect((await search({})).executions.map(({ parent }) => parent)).toEqual([first, null]);
      });

      test("wants every word, wherever it is", async () => {
        const session = await openSession();
        const both = await execute(session, { code: "alpha()" }, { stdout: "beta" });
        await execute(session, { code: "alpha()" });
        expect(await found("beta alpha")).toEqual([both]);
        expect(await found("  beta\talpha\n")).toEqual([both]);
      });

      test("keeps quoted words together", async () => {
        const session = await openSession();
        const together = await execute(session, { code: "import numpy as np" });
        const apart = await execute(session, { code: "numpy.import(as)" });
        expect(await found("import numpy")).toEqual([apart, together]);
        expect(await found('"import numpy"')).toEqual([together]);
        expect(await found('"import numpy" as')).toEqual([together]);
        expect(await found('"')).toEqual([]);
        expect(await found('""')).toEqual([apart, together]);
      });

      test("takes every other character for itself", async () => {
        const session = await openSession();
        const code = `x = "a%b" * (c - 1) # NOT x OR \\y, col:z^2 {'k': [1]} it's`;
        const id = await execute(session, { code });
        await execute(session, { code: "x = 'aXb' c 1 y z" });
        const queries = [
          '"a%b"',
          "a%b",
          "*",
          "(c",
          "- 1)",
          "NOT x OR",
          "\\y",
          "col:z^2",
          "{'k':",
          "[1]}",
          "it's",
          '= "a',
        ];
        for (const query of queries) expect([query, await found(query)]).toEqual([query, [id]]);
        expect(await found("a_b")).toEqual([]);
        expect(await found("a*b")).toEqual([]);
      });

      test("reads Korean, composed or not, down to one syllable", async () => {
        const session = await openSession();
        const composed = await execute(session, { code: "평균값 = 계산(자료)" });
        const decomposed = await execute(session, {}, { stdout: "평균값".normalize("NFD") });
        const mean = [decomposed, composed];
        for (const query of [
          "평균값",
          "평균",
          "평",
          "균",
          "평균값".normalize("NFD"),
          "평균".normalize("NFD"),
        ]) {
          expect([query, await found(query)]).toEqual([query, mean]);
        }
        expect(await found("평균 자료")).toEqual([composed]);
        expect(await found("분산")).toEqual([]);
      });

      test("does not mind case, in any script", async () => {
        const session = await openSession();
        const id = await execute(session, { code: "Größe = ÉTÉ; ΟΔΟΣ = Ж" });
        for (const query of ["GRÖSSE".replace("SS", "ß"), "été", "οδος", "οδοσ", "ж", "é"]) {
          expect([query, await found(query)]).toEqual([query, [id]]);
        }
      });

      test("copes with NUL, lone surrogates and emoji", async () => {
        const session = await openSession();
        const id = await execute(
          session,
          {},
          { stdout: "before\u0000after \ud800 \u{1F600}\u{1F601}\u{1F602}" },
        );
        for (const query of [
          "after",
          "fore",
          "\u{1F600}",
          "\u{1F600}\u{1F601}\u{1F602}",
          "e\u0000a",
          "\u0000",
        ]) {
          expect([query, await found(query)]).toEqual([query, [id]]);
        }
        expect((await search({})).executions[0]?.stdout).toBe(
          "before\u0000after \ufffd \u{1F600}\u{1F601}\u{1F602}",
        );
      });

      test("sees every finished execution at once, and again after a restart", async () => {
        const session = await openSession();
        const ids: string[] = [];
        for (let round = 0; round < 20; round++) {
          ids.unshift(await execute(session, { code: `needle_${round}` }));
          expect(await found("needle")).toEqual(ids);
        }
        const accepted = anExecution(session, { code: "needle_later" });
        await store().accept(accepted);
        ids.unshift(await execute(session, { code: "needle_after" }));
        await backend.reopen();
        expect(await found("needle")).toEqual(ids);
        await store().finish({ record: aRecord(accepted), epoch: 1, timeline: [], head: null });
        await backend.reopen();
        expect((await found("needle")).toSorted()).toEqual([...ids, accepted.id].toSorted());
      });

      test("filters by session, status and time", async () => {
        const [main, other] = [await openSession(), await openSession({ name: "other" })];
        const early = await execute(main, { accepted_at: "2026-11-22T08:00:00.000Z" }, { stdout: "word" });
        const middle = await execute(
          other,
          { accepted_at: "2026-11-22T09:00:00.000Z" },
          { status: "timed_out", stdout: "word" },
        );
        const late = await execute(main, { accepted_at: "2026-11-22T10:00:00.000Z" }, { stdout: "word" });
        const waiting = anExecution(main, { accepted_at: "2026-11-22T11:00:00.000Z" });
        await store().accept(waiting);
        const ids = async (query: Partial<HistoryQuery>) =>
          (await search(query)).executions.map((one) => one.id);
        expect(await ids({ session: "main" })).toEqual([waiting.id, late, early]);
        expect(await ids({ session: other.id })).toEqual([middle]);
        expect(await ids({ session: "nobody" })).toEqual([]);
        expect(await ids({ status: "ok" })).toEqual([late, early]);
        expect(await ids({ status: "timed_out" })).toEqual([middle]);
        expect(await ids({ status: "running" })).toEqual([waiting.id]);
        expect(await ids({ since: "2026-11-22T09:00:00Z" })).toEqual([waiting.id, late, middle]);
        expect(await ids({ until: "2026-11-22T09:00:00Z" })).toEqual([early]);
        expect(await ids({ since: "2026-11-22T18:00:00+09:00", until: "2026-11-22T10:00:00.000Z" })).toEqual([
          middle,
        ]);
        expect(await ids({ query: "word", session: "main", since: "2026-11-22T09:30:00Z" })).toEqual([late]);
        expect(await ids({ query: "wo", status: "timed_out" })).toEqual([middle]);
        // An earlier session of the name is part of its history.
        await store().closeSession(main.id, 1, AT);
        const again = await openSession();
        const newest = await execute(again);
        expect(await ids({ session: "main" })).toEqual([newest, waiting.id, late, early]);
      });

      test("finds what was accepted since, though the clock was set back", async () => {
        const session = await openSession();
        const ahead = await execute(session, { accepted_at: "2026-11-22T12:00:00.000Z" });
        await execute(session, { accepted_at: "2026-11-22T08:00:00.000Z" });
        const again = await execute(session, { accepted_at: "2026-11-22T11:00:00.000Z" });
        const since = "2026-11-22T11:00:00.000Z";
        expect((await search({ since })).executions.map((one) => one.id)).toEqual([again, ahead]);
        expect(await found("x")).toHaveLength(3);
        expect((await search({ since })).executions.map((one) => one.id)).toEqual([again, ahead]);
      });

      test("summarises", async () => {
        const session = await openSession();
        const error = {
          type: "E",
          message: "m".repeat(1_000),
          traceback: "",
          line: null,
          column: null,
          frames: [],
        };
        const code = "\u{1F600}".repeat(500);
        const id = await execute(
          session,
          { code },
          {
            status: "error",
            error,
            stdout: "평".repeat(300),
            result: { text: "r".repeat(300), mime: {} },
            revision: 3,
          },
        );
        const [summary] = (await search({})).executions;
        expect(summary).toMatchObject({
          id,
          session: "main",
          generation: 1,
          revision: 3,
          status: "error",
          started_at: "2026-11-22T09:00:01.000Z",
          duration_ms: 4.25,
          code: "\u{1F600}".repeat(400),
          result: "r".repeat(200),
          stdout: "평".repeat(200),
        });
        expect(summary?.error).toMatch(/^E: m{100,400}$/);
        await execute(session);
        expect((await search({})).executions[0]).toMatchObject({ result: null, error: null, stdout: "" });
      });

      test("pages without gaps or repeats, while new executions arrive", async () => {
        const session = await openSession();
        const ids: string[] = [];
        for (let index = 0; index < 23; index++)
          ids.unshift(await execute(session, { code: `page_${index}` }));
        for (const query of [undefined, "page_", "pa"]) {
          const seen: string[] = [];
          let cursor: string | undefined;
          do {
            const page = await search({
              limit: 5,
              ...(query === undefined ? {} : { query }),
              ...(cursor === undefined ? {} : { cursor }),
            });
            seen.push(...page.executions.map((one) => one.id));
            cursor = page.next_cursor ?? undefined;
            ids.unshift(await execute(session, { code: "page_new" }));
          } while (cursor !== undefined);
          expect(seen).toEqual(ids.slice(-seen.length));
          expect(seen.length).toBeGreaterThanOrEqual(23);
        }
        const all = await search({ limit: ids.length });
        expect(all.executions).toHaveLength(ids.length);
        expect(all.next_cursor).toBeNull();
      });

      test("refuses a cursor that it did not give", async () => {
        for (const cursor of ["", "nonsense", "exec_00000000000000000000000zzz", "' OR 1"]) {
          await expect(search({ cursor })).rejects.toMatchObject(refusal("invalid_request"));
        }
      });

      test("takes a long query", async () => {
        const session = await openSession();
        const text = Array.from({ length: 240 }, (_, index) => String(index)).join(",");
        const id = await execute(session, { code: text });
        await execute(session, { code: text.replace("120,121", "120,,121") });
        expect(await found(`"${text}"`)).toEqual([id]);
        expect(await found(text.replaceAll(",", " "))).toHaveLength(2);
      });
    });
  });
}
