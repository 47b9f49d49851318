/** What callers get wrong: each a row of the error table with its remedy, and the daemon lives on. */
import { describe, expect, test } from "vitest";
import { ERRORS, type ErrorCode, ExecuteCodeError } from "../../src/contract/errors.ts";
import { type RawAnswer, raw } from "../support/http.ts";
import { suiteHome } from "../support/suite.ts";

const home = await suiteHome();

const post = (body: unknown): Promise<RawAnswer> =>
  raw(home.home, "POST", "/v1/executions", JSON.stringify(body));

function expectError(answer: RawAnswer, code: ErrorCode): void {
  expect(answer.json.code, answer.body).toBe(code);
  expect(answer.status).toBe(ERRORS[code].http);
  expect(answer.json.message).not.toBe("");
  expect(answer.json.remedy).not.toBe("");
}

describe("a request is refused with", () => {
  test.each<[ErrorCode, string, () => Promise<RawAnswer>]>([
    ["empty_code", "no code", () => post({ code: "" })],
    ["empty_code", "blank code", () => post({ code: " \n\t" })],
    ["code_too_large", "10 MB of code", () => post({ code: `x = '${"a".repeat(10_000_000)}'` })],
    ["body_too_large", "a body beyond all bounds", () => post({ code: "a".repeat(17 * 1024 * 1024) })],
    [
      "invalid_encoding",
      "an unpaired surrogate",
      () => raw(home.home, "POST", "/v1/executions", '{"code":"\\ud800"}'),
    ],
    [
      "invalid_encoding",
      "bytes that are no UTF-8",
      () => raw(home.home, "POST", "/v1/executions", Buffer.from([0x7b, 0xff, 0x7d])),
    ],
    ["invalid_json", "a body that is no JSON", () => raw(home.home, "POST", "/v1/executions", "code=1")],
    ["invalid_json", "an empty body", () => raw(home.home, "POST", "/v1/executions", "")],
    ["invalid_request", "an array", () => post([])],
    ["invalid_request", "no code at all", () => post({})],
    ["invalid_request", "a misspelt field", () => post({ code: "1", sesion: "a" })],
    ["invalid_request", "a negative timeout", () => post({ code: "1", timeout_ms: -1 })],
    ["invalid_request", "a session name with a slash", () => post({ code: "1", session: "../x" })],
    ["unknown_language", "an unheard language", () => post({ code: "1", session: "new", language: "cobol" })],
    ["unknown_session", "an id of no session", () => post({ code: "1", session: `sess_${"0".repeat(26)}` })],
    [
      "unsupported_media_type",
      "text/plain",
      () => raw(home.home, "POST", "/v1/executions", "{}", { "content-type": "text/plain" }),
    ],
    [
      "unsupported_media_type",
      "a file as JSON",
      () => raw(home.home, "POST", "/v1/sessions/any/files/content?path=a", "{}"),
    ],
    [
      "unknown_session",
      "a file for a session nobody made",
      () =>
        raw(home.home, "POST", "/v1/sessions/nobody/files/content?path=a", "x", {
          "content-type": "application/octet-stream",
        }),
    ],
    ["invalid_request", "no path", () => raw(home.home, "GET", "/v1/sessions/any/files/content")],
    ["invalid_encoding", "an address that is no UTF-8", () => raw(home.home, "GET", "/v1/sessions/%ff")],
    ["unknown_route", "an address that is none", () => raw(home.home, "GET", "/v2/executions")],
    ["method_not_allowed", "a method that is none", () => raw(home.home, "DELETE", "/v1/executions")],
    ["method_not_allowed", "GET where it would have effects", () => raw(home.home, "GET", "/v1/daemon/stop")],
    ["unknown_session", "a session nobody made", () => raw(home.home, "GET", "/v1/sessions/nobody")],
    [
      "unknown_execution",
      "an execution that never was",
      () => raw(home.home, "GET", `/v1/executions/exec_${"0".repeat(26)}`),
    ],
    ["unknown_execution", "an id of no form", () => raw(home.home, "GET", "/v1/executions/..%2f..%2fetc")],
    [
      "unknown_execution",
      "events of one that never was",
      () => raw(home.home, "GET", `/v1/executions/exec_${"0".repeat(26)}/events`),
    ],
    ["invalid_request", "a cursor of no form", () => raw(home.home, "GET", "/v1/executions?cursor=%00")],
    ["invalid_request", "a limit beyond bounds", () => raw(home.home, "GET", "/v1/executions?limit=100000")],
  ])("%s: %s", async (code, _what, send) => {
    expectError(await send(), code);
  });

  test("unknown_variable, when the session has no such variable", async () => {
    await home.client.execute({ session: "vars", code: "x = 1" });
    expectError(await raw(home.home, "GET", "/v1/sessions/vars/variables/y"), "unknown_variable");
  });

  test("session_closed, after its end, and `fresh` opens the name again", async () => {
    const session = await home.client.session("closing");
    await session.execute("x = 1");
    await session.close();
    await expect(session.execute("x")).rejects.toMatchObject({ code: "session_closed" });
    await expect(session.close()).rejects.toMatchObject({ code: "session_closed" });
    const again = await home.client.execute({ session: "closing", code: "'x' in globals()", fresh: true });
    expect(again.result?.text).toBe("False");
    expect(again.revision).toBe(1);
  });

  test("session_exists, when a name is taken", async () => {
    await home.client.createSession({ name: "taken" });
    await expect(home.client.createSession({ name: "taken" })).rejects.toMatchObject({
      code: "session_exists",
    });
  });

  test("idempotency_conflict, when a key comes back with other code", async () => {
    const one = await home.client.execute({ session: "keys", code: "1", idempotencyKey: "k" });
    const again = await home.client.execute({ session: "keys", code: "1", idempotencyKey: "k" });
    expect(again.id).toBe(one.id);
    expect(again.revision).toBe(1);
    const other = home.client.execute({ session: "keys", code: "2", idempotencyKey: "k" });
    await expect(other).rejects.toBeInstanceOf(ExecuteCodeError);
    await expect(other).rejects.toMatchObject({ code: "idempotency_conflict" });
  });
});

test("the message says what is wrong where", async () => {
  const answer = await raw(home.home, "POST", "/v1/sessions/any/rollback", JSON.stringify({ to: "" }));
  expect(answer.json.message).toBe("The request's body is not valid: to: must not be empty.");
});

test("the daemon lives, and describes its API", async () => {
  expect((await home.client.execute({ session: "alive", code: "1" })).status).toBe("ok");
  const { json } = await raw(home.home, "GET", "/v1/openapi.json");
  expect(json.openapi).toBe("3.1.0");
  expect(Object.keys(json.paths as object)).toContain("/v1/executions/{id}/events");
});
