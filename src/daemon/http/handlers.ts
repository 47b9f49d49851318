/** What each route of the API does. */
import type {
  Health,
  ROUTES,
  RouteBody,
  RouteName,
  RouteParams,
  RouteQuery,
  RouteResponse,
} from "../../contract/api.ts";
import type { ExecutionEvent } from "../../contract/events.ts";
import {
  bisect,
  type Content,
  diff,
  exportHistory,
  listWorkspace,
  makeWorkspace,
  merge,
  openWorkspaceFile,
  replay,
  storeWorkspaceFile,
  wantedOf,
  workspaceRoot,
} from "../../memory/index.ts";
import { VERSION } from "../../platform/version.ts";
import type { Services } from "../compose.ts";
import { diagnose } from "../doctor.ts";

export interface Input<N extends RouteName> {
  readonly params: RouteParams<N>;
  readonly query: RouteQuery<N>;
  readonly body: RouteBody<N>;
  /** Aborted when the caller has gone. */
  readonly signal: AbortSignal;
}

type Answer<N extends RouteName> = (typeof ROUTES)[N]["answer"] extends "json"
  ? Promise<RouteResponse<N>>
  : (typeof ROUTES)[N]["answer"] extends "bytes"
    ? Promise<Content>
    : AsyncIterable<ExecutionEvent>;

export type Handlers = { readonly [N in RouteName]: (input: Input<N>) => Answer<N> };

/** What the daemon knows of itself. */
export interface Self {
  readonly startedAt: Date;
  /** Where it is served besides its socket. */
  readonly http: () => Health["http"];
  /** Begins to stop, after the answer is sent. */
  readonly stop: (drainMs: number) => void;
}

/** How long looking at variables waits for a running execution. */
const INSPECT_WAIT_MS = 5_000;

export function createHandlers(services: Services, self: Self): Handlers {
  const { sessions, history, router, kernels, artifacts, store } = services;
  return {
    health: async () => health(services, self),
    doctor: async () => ({ checks: await diagnose(services) }),
    stop: async ({ body }) => {
      self.stop(body.drain_ms);
      return { pid: process.pid };
    },
    execute: ({ body, signal }) => router.run(sessions, body, signal),
    stream: ({ body, signal }) => router.stream(sessions, body, signal),
    history: ({ query }) => history.search(query),
    execution: ({ params, query }) => history.wait(params.id, query.wait_ms, query.until),
    follow: ({ params, query, signal }) => history.follow(params.id, query.offset, signal),
    output: ({ params }) => history.output(params.id, params.stream),
    artifact: ({ params }) => history.artifact(params.id, params.number),
    interrupt: ({ params }) => router.stop(sessions, params.id, "interrupted"),
    kill: ({ params }) => router.stop(sessions, params.id, "killed"),
    input: ({ params, body }) => router.input(params.id, body.text),
    sessions: async ({ query }) => ({ sessions: await sessions.list(query) }),
    createSession: async ({ body }) => (await sessions.create(body)).info(),
    session: ({ params }) => sessions.show(params.session),
    resetSession: async ({ params }) => {
      const session = await sessions.find(params.session);
      await session.reset();
      return session.info();
    },
    snapshots: async ({ params }) => ({ snapshots: (await sessions.find(params.session)).line.snapshots() }),
    takeSnapshot: async ({ params, body }) => (await sessions.find(params.session)).line.takeSnapshot(body),
    dropSnapshot: async ({ params }) =>
      (await sessions.find(params.session)).line.dropSnapshot(params.snapshot),
    rollback: async ({ params, body }) => {
      const session = await sessions.find(params.session);
      const done = await session.line.rollBack(body.to);
      return { ...done, session: session.info() };
    },
    forkSession: ({ params, body }) => sessions.fork(params.session, body),
    captures: async ({ params }) => ({
      captures: await (await sessions.find(params.session)).line.captures(),
    }),
    capture: async ({ params, body }) => (await sessions.find(params.session)).line.capture(body),
    restoreSession: async ({ params, body }) => (await sessions.find(params.session)).line.restore(body),
    exportHistory: ({ params, query }) => exportHistory(store, artifacts, params.session, query),
    merge: async ({ params, body }) => {
      const [into, from] = await Promise.all([sessions.find(params.session), sessions.find(body.from)]);
      return merge(store, services.captures, into, from, body);
    },
    diff: async ({ params, query }) => {
      const [here, there] = await Promise.all([sessions.find(params.session), sessions.find(query.with)]);
      return diff(store, here, there);
    },
    bisect: async ({ params, body }) => {
      const session = await sessions.find(params.session);
      return bisect(session, await store.line(session.info().head), body);
    },
    replay: async ({ params, body }) => {
      const { head } = await sessions.show(params.session);
      const ids = await wantedOf(store, body, await store.line(head));
      const into =
        body.into === undefined
          ? await sessions.createLike(params.session)
          : await sessions.open(body.into, {}, true);
      const executions = await replay(store, ids, into, body);
      return { session: into.info(), executions };
    },
    closeSession: ({ params }) => sessions.closeSession(params.session),
    install: async ({ params, body }) => {
      const session = await sessions.find(params.session);
      return session.install(body, null);
    },
    variables: async ({ params }) => {
      const session = await sessions.find(params.session);
      const variables = await session.variables(INSPECT_WAIT_MS);
      const { name, generation, revision } = session.info();
      return { session: name, generation, revision, variables };
    },
    variable: async ({ params, query }) => {
      const session = await sessions.find(params.session);
      return session.variable(params.name, query.depth, INSPECT_WAIT_MS);
    },
    complete: async ({ params, body }) => {
      const session = await sessions.find(params.session);
      return session.complete(body, INSPECT_WAIT_MS);
    },
    files: async ({ params, query }) =>
      listWorkspace(workspaceRoot(await sessions.show(params.session)), query.path),
    download: async ({ params, query }) =>
      openWorkspaceFile(workspaceRoot(await sessions.show(params.session)), query.path),
    upload: async ({ params, query, body }) => {
      const session = (await sessions.find(params.session)).info();
      // A folder of the user's is there, or the user has taken it away.
      if (session.profile.workspace === null) {
        await makeWorkspace(session.workspace, kernels.isolation.enclosure(session.isolation).owner);
      }
      const staging = () => artifacts.temporaryFile();
      return storeWorkspaceFile(workspaceRoot(session), query.path, body, staging);
    },
  };
}

async function health(services: Services, self: Self): Promise<Health> {
  const { interpreters, paths, isolation, sessions, history, kernels } = services;
  const interpreter = await interpreters.find().catch(() => null);
  return {
    version: VERSION,
    pid: process.pid,
    home: paths.home,
    started_at: self.startedAt.toISOString(),
    uptime_ms: Date.now() - self.startedAt.getTime(),
    isolation: isolation.strongest,
    python:
      interpreter === null ? null : { executable: interpreter.executable, version: interpreter.version },
    sessions: sessions.live,
    http: self.http(),
    running: history.running,
    warm: kernels.warm,
    rss_bytes: process.memoryUsage.rss(),
  };
}
