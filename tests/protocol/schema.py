"""The shapes of all frames, as Python sees them: what src/contract/frames.ts says, in as few words.

`check(channel, direction, frame)` gives None, or what is wrong with a frame. Unknown fields are ignored, as zod's
objects do.
"""

from __future__ import annotations

import re


def text(value):
    return type(value) is str


def integer(value):
    return type(value) is int


def size(value):
    return integer(value) and value >= 0


def digest(value):
    return text(value) and re.fullmatch("[0-9a-f]{64}", value) is not None


def number(value):
    return type(value) in (int, float) and value - value == 0


def boolean(value):
    return type(value) is bool


def json(value):
    return True


def nothing(value):
    return value is None


def literal(*allowed):
    return lambda value: value in allowed and type(value) is str


def either(*checks):
    return lambda value: any(check(value) for check in checks)


def maybe(check):
    return either(nothing, check)


def array(check):
    return lambda value: type(value) is list and all(check(item) for item in value)


def table(check):
    return lambda value: type(value) is dict and all(text(key) and check(item) for key, item in value.items())


def shape(**fields):
    return lambda value: type(value) is dict and all(
        name in value and check(value[name]) for name, check in fields.items()
    )


MIME = table(json)
SUMMARY = shape(name=text, type=text, preview=text)
INFO = dict(
    name=text,
    type=text,
    module=maybe(text),
    shape=maybe(array(integer)),
    dtype=maybe(text),
    length=maybe(integer),
    bytes=maybe(integer),
    preview=text,
)


TABLE = shape(
    columns=array(shape(name=text, dtype=text)),
    omitted_columns=integer,
    index=array(text),
    head=array(array(text)),
    describe=table(table(maybe(number))),
    described_rows=integer,
)


def detail(value):
    check = shape(
        **INFO,
        children=array(detail),
        omitted=integer,
        source=maybe(text),
        doc=maybe(text),
        signature=maybe(text),
        table=maybe(TABLE),
    )
    return check(value)


EFFECT = shape(
    kind=literal(
        "read", "write", "delete", "connect", "listen", "spawn", "signal", "input", "time", "random", "unknown"
    ),
    target=text,
    count=integer,
)
UNSAFE = shape(kind=literal("thread", "socket", "process", "device", "file", "database"), what=text, variable=maybe(text))
BRANCH = shape(
    kernel=text,
    nonce=text,
    role=literal("snapshot", "successor", "session", "capture"),
    copy=maybe(text),
    stdout=maybe(text),
    stderr=maybe(text),
    interrupts=maybe(text),
    only=maybe(array(text)),
    skip=table(text),
)
MANIFEST = shape(
    version=integer,
    variables=array(
        shape(
            name=text,
            type=text,
            status=literal("captured", "recipe", "skipped"),
            bytes=integer,
            reason=maybe(text),
        )
    ),
    blobs=array(shape(digest=digest, bytes=size)),
)
PAST = shape(
    id=text,
    code=text,
    status=text,
    started_at=text,
    added=array(text),
    changed=array(text),
    deleted=array(text),
    effects=array(EFFECT),
)
RESTORED = shape(
    name=text, outcome=literal("restored", "recomputed", "lost"), executions=array(text), reason=maybe(text)
)
MERGED = shape(name=text, outcome=literal("merged", "kept", "failed"), reason=maybe(text))


FRAMES = {
    ("control", "from_daemon"): {
        "fork": dict(
            kernel=text,
            nonce=text,
            listener=text,
            stdout=text,
            stderr=text,
            interrupts=text,
            cwd=text,
            env=table(text),
            limits=maybe(
                shape(
                    memory_bytes=integer,
                    processes=maybe(integer),
                    files=integer,
                    file_bytes=integer,
                    cpus=maybe(json),
                    nice=integer,
                )
            ),
        ),
        "adopt": dict(kernel=text, pid=integer, paused=boolean),
        "resume": dict(kernel=text, since_ms=number),
        "signal": dict(
            kernel=text,
            signal=integer,
            target=literal("kernel", "started", "leftover", "tree"),
            since_ms=number,
            request=integer,
        ),
        "stop": {},
    },
    ("control", "to_daemon"): {
        "ready": dict(
            protocol=integer, pid=integer, python=shape(version=text, executable=text, implementation=text)
        ),
        "forked": dict(kernel=text, pid=integer),
        "signalled": dict(kernel=text, request=integer),
        "exited": dict(
            kernel=text, code=maybe(integer), signal=maybe(integer), peak_memory_bytes=integer, cpu_ms=number
        ),
        "fault": dict(kernel=maybe(text), message=text),
    },
    ("kernel", "from_daemon"): {
        "execute": dict(id=text, code=text, env=table(text), streams=maybe(shape(stdout=text, stderr=text))),
        "inspect": dict(request=text, name=maybe(text), depth=integer),
        "complete": dict(request=text, code=text, cursor=maybe(integer)),
        "reply": dict(request=text, value=json, error=maybe(text)),
        "branch": dict(request=text, listener=text, on_unsafe=literal("refuse", "warn"), branches=array(BRANCH)),
        "resume": dict(
            request=text,
            kernel=text,
            role=literal("successor", "session"),
            copy=maybe(text),
            stdout=text,
            stderr=text,
            interrupts=text,
        ),
        "wanted": dict(digests=array(text)),
        "restore": dict(
            request=text, manifest=maybe(MANIFEST), folder=text, history=array(PAST), captured=maybe(text), effects=boolean
        ),
        "merge": dict(request=text, manifest=MANIFEST, folder=text, names=array(text)),
        "shutdown": {},
    },
    ("kernel", "to_daemon"): {
        "hello": dict(protocol=integer, nonce=text, pid=integer),
        "display": dict(id=text, display_id=maybe(text), update=boolean, mime=MIME),
        "progress": dict(id=text, done=number, total=maybe(number), message=text),
        "call": dict(id=text, request=text, method=literal("history", "install", "checkpoint"), params=table(json)),
        "input": dict(id=text, request=text, prompt=text, password=boolean),
        "withdrawn": dict(request=text),
        "streams_kept": dict(id=text),
        "done": dict(
            id=text,
            status=literal("ok", "error", "interrupted"),
            result=maybe(shape(text=text, mime=MIME)),
            error=maybe(
                shape(
                    type=text,
                    message=text,
                    traceback=text,
                    line=maybe(integer),
                    column=maybe(integer),
                    frames=array(shape(source=text, function=text, line=integer, text=text)),
                )
            ),
            variables=shape(added=array(SUMMARY), changed=array(SUMMARY), deleted=array(text)),
            changed=boolean,
            effects=array(EFFECT),
            ast_hash=maybe(text),
            imports=array(text),
            duration_ms=number,
            cpu_ms=number,
            peak_memory_bytes=integer,
            unread=shape(stdout=integer, stderr=integer),
            lingering=boolean,
        ),
        "inspected": dict(
            request=text,
            variables=maybe(array(shape(**INFO))),
            detail=maybe(detail),
            error=maybe(shape(code=literal("unknown_variable", "inspection_failed"), message=text)),
        ),
        "completed": dict(
            request=text,
            matches=array(text),
            start=integer,
            end=integer,
            status=literal("complete", "incomplete", "invalid"),
            indent=text,
        ),
        "resumed": dict(request=text, error=maybe(text)),
        "branched": dict(
            request=text,
            pids=array(integer),
            unsafe=array(UNSAFE),
            still=boolean,
            error=maybe(shape(code=literal("unsafe_fork", "fork_failed"), message=text)),
        ),
        "capturing": dict(names=array(text)),
        "offer": dict(contents=array(shape(digest=text, bytes=size))),
        "captured": dict(manifest=maybe(MANIFEST), error=maybe(text)),
        "merged": dict(request=text, variables=array(MERGED), classes=array(text), error=maybe(text)),
        "restored": dict(request=text, variables=array(RESTORED), replayed=array(text), error=maybe(text)),
    },
}


def check(channel: str, direction: str, frame) -> str | None:
    """What is wrong with a frame, or None."""
    if type(frame) is not dict or not text(frame.get("type")):
        return "no object with a type"
    fields = FRAMES[channel, direction].get(frame["type"])
    if fields is None:
        return f"no frame of this channel and direction: {frame['type']}"
    for name, test in fields.items():
        if name not in frame:
            return f"{frame['type']}.{name} is missing"
        if not test(frame[name]):
            return f"{frame['type']}.{name} is {repr(frame[name])[:80]}"
    return None
