/** Resources: what has a limit ends in an error that code can handle; the session lives. */
import { describe, expect, test } from "vitest";
import { LIMITS } from "../../src/contract/limits.ts";
import { arena, attack, counted, lagMs, userArena } from "./attack.ts";

const at = arena();
const userAt = userArena();

describe("limits", () => {
  attack(at, userAt, [
    {
      name: "memory without end",
      grants: { memoryBytes: 256 * 1024 ** 2 },
      code: "try:\n    held = []\n    while True: held.append(bytearray(1 << 24))\nexcept MemoryError: held = None; ended = 'MemoryError'\nended",
      ends: "'MemoryError'",
    },
    {
      name: "a file of a terabyte",
      code: "f = open('sparse', 'wb')\noutcome(f.truncate, 1 << 40)",
      ends: "'EFBIG'",
    },
    {
      name: "descriptors without end",
      code: "held = []\ntry:\n    while True: held.append(os.open('/dev/null', os.O_RDONLY))\nexcept OSError as e: ended = errno.errorcode[e.errno]\nfor fd in held: os.close(fd)\nended, len(held) < 5000",
      ends: "('EMFILE', True)",
    },
    {
      name: "threads without end",
      code: "import threading\ngo = threading.Event(); count = 0\ntry:\n    while True: threading.Thread(target=go.wait).start(); count += 1\nexcept RuntimeError as e: ended = str(e)\ngo.set(); ended, count < 1000",
      ends: '("can\'t start new thread", True)',
    },
    {
      name: "a full /tmp",
      code: "fd = os.open('/tmp/big', os.O_CREAT | os.O_RDWR)\ntry:\n    for at in range(1 << 10): os.posix_fallocate(fd, at << 24, 1 << 24)\nexcept OSError as e: ended = errno.errorcode[e.errno]\nos.close(fd); os.remove('/tmp/big'); ended",
      ends: "'ENOSPC'",
      reduced: /^PermissionError/,
    },
    {
      name: "a full /dev/shm",
      code: "fd = os.open('/dev/shm/big', os.O_CREAT | os.O_RDWR)\ntry:\n    for at in range(1 << 10): os.posix_fallocate(fd, at << 24, 1 << 24)\nexcept OSError as e: ended = errno.errorcode[e.errno]\nos.close(fd); os.remove('/dev/shm/big'); ended",
      ends: "'ENOSPC'",
      // An ordinary user's sessions have the machine's.
      reduced: null,
    },
    {
      name: "raising the limits",
      code: "import resource\ndef raised(kind):\n    try: resource.setrlimit(kind, (resource.RLIM_INFINITY,) * 2); return 'raised'\n    except (ValueError, OSError) as e: return type(e).__name__\n[raised(kind) for kind in (resource.RLIMIT_DATA, resource.RLIMIT_NPROC, resource.RLIMIT_NOFILE, resource.RLIMIT_FSIZE)]",
      ends: "['ValueError', 'ValueError', 'ValueError', 'ValueError']",
    },
    {
      name: "message queues, and more memory by locks and pipes than allowed",
      code: "import ctypes, fcntl\nlibc = ctypes.CDLL(None, use_errno=True)\nheld = []\ntry:\n    while len(held) < 10_000: held.extend(os.pipe())\nexcept OSError as e: ended = errno.errorcode[e.errno]\nfor fd in held: os.close(fd)\nr, w = os.pipe()\nended, outcome(fcntl.fcntl, w, 1031, 1 << 30)",
      ends: "('EMFILE', 'EPERM')",
    },
    {
      name: "a process that is spared when memory runs out",
      code: "outcome(lambda: os.write(os.open('/proc/self/oom_score_adj', os.O_WRONLY), b'-1000'))",
      ends: /^'(EACCES|EPERM|EROFS)'$/,
    },
    { name: "a higher priority", code: "outcome(os.nice, -5)", ends: /'(EPERM|EACCES)'/ },
  ]);
});

describe("a busy machine", () => {
  test("sixty busy loops leave the daemon its time", async () => {
    const { client } = at();
    const session = "loops";
    const started = await client.execute({
      session,
      code: "import os, time\nfor _ in range(60):\n    if os.fork() == 0:\n        while True: pass\nprint('started', flush=True)\ntime.sleep(60)",
      timeoutMs: 0,
    });
    const deadline = performance.now() + 20_000;
    while ((await client.execution(started.id)).stdout === "" && performance.now() < deadline);
    expect(await client.execution(started.id)).toMatchObject({ status: "running", stdout: "started\n" });
    const lag = await lagMs(at());
    await client.closeSession(session);
    counted();
    expect(lag).toBeLessThan(50);
  });

  test("output without end is bounded, and costs the daemon no memory", async () => {
    const { client } = at();
    const before = (await client.health()).rss_bytes;
    const flood = client.execute({
      session: "flood",
      grants: { outputBytes: 1 << 20 },
      code: "import os, time\nblock = b'x' * (1 << 20)\nend = time.monotonic() + 2\ncount = 0\nwhile time.monotonic() < end: count += os.write(1, block); os.write(2, block)\ncount",
    });
    const lag = await lagMs(at());
    const record = await flood;
    counted();
    expect(Number(record.result?.text)).toBeGreaterThan(8 << 20);
    const shown = LIMITS.inlineHeadBytes + LIMITS.inlineTailBytes;
    expect(record.truncated.stdout_bytes).toBe(Number(record.result?.text) - shown);
    expect((await client.output(record.id, "stdout")).length).toBe(1 << 20);
    expect((await client.health()).rss_bytes - before).toBeLessThan(100 << 20);
    expect(lag).toBeLessThan(50);
  });
});
