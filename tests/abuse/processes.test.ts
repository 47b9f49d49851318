/** Processes: a session's are its own, see only each other, and end with it. */
import { execFileSync } from "node:child_process";
import { describe, expect, test } from "vitest";
import { arena, attack, counted, userArena } from "./attack.ts";

const at = arena();
const userAt = userArena();
const LIBC =
  "import ctypes\nlibc = ctypes.CDLL(None, use_errno=True)\ndef call(number, *arguments):\n    ctypes.set_errno(0)\n    result = libc.syscall(number, *arguments)\n    return result if result >= 0 else errno.errorcode[ctypes.get_errno()]\n";
/** Numbers of x86-64. */
const x64 = process.arch === "x64";

describe("privileges", () => {
  attack(at, userAt, [
    {
      name: "to be root",
      code: "os.getuid(), outcome(os.setuid, 0)",
      ends: /^\(1000, '(EPERM|EINVAL)'\)$/,
      reduced: /^\(6199[89], 'EPERM'\)$/,
    },
    {
      name: "capabilities",
      code: "[line.split()[1] for line in open('/proc/self/status') if line.startswith('Cap')]",
      ends: "['0000000000000000', '0000000000000000', '0000000000000000', '0000000000000000', '0000000000000000']",
      // The last but one bounds what could be had, and nothing can.
      reduced:
        /^\['0000000000000000', '0000000000000000', '0000000000000000', '[0-9a-f]+', '0000000000000000'\]$/,
    },
    {
      name: "set-user-id programs",
      code: "[line.split()[1] for line in open('/proc/self/status') if line.startswith('NoNewPrivs')]",
      ends: "['1']",
    },
    {
      name: "new user namespaces",
      code: `${LIBC}[outcome(call, ${x64 ? 272 : 97}, flag) for flag in (0x10000000, 0x20000, 0x40000000, 0x20000000)]`,
      ends: "['EPERM', 'EPERM', 'EPERM', 'EPERM']",
    },
    {
      name: "namespaces by clone",
      code: `${LIBC}call(${x64 ? 56 : 220}, 0x10000000 | 17, None, None, None, None)`,
      ends: "'EPERM'",
    },
    { name: "clone3", code: `${LIBC}call(435, None, 0)`, ends: "'ENOSYS'" },
    {
      name: "joining a namespace",
      code: `${LIBC}fd = os.open('/proc/self/ns/user', os.O_RDONLY)\ncall(${x64 ? 308 : 268}, fd, 0)`,
      ends: "'EPERM'",
    },
    {
      name: "ptrace",
      code: `${LIBC}call(${x64 ? 101 : 117}, 16, 1, None, None), call(${x64 ? 101 : 117}, 0, 0, None, None)`,
      ends: "('EPERM', 'EPERM')",
    },
    {
      name: "another process's memory",
      code: `${LIBC}call(${x64 ? 310 : 270}, 1, None, 0, None, 0, 0), outcome(open, '/proc/1/mem', 'rb')`,
      ends: /^\('EPERM', '(EACCES|EPERM)'\)$/,
    },
    {
      name: "bpf, perf, userfaultfd, io_uring, keyctl, memfd",
      code: `${LIBC}[call(number, 0, 0, 0, 0, 0) for number in (${x64 ? "321, 298, 323, 425, 250, 319" : "280, 241, 282, 425, 219, 279"})]`,
      ends: /^\[('EPERM'(, )?){6}\]$/,
    },
    {
      name: "System V memory, semaphores and queues",
      code: `${LIBC}[call(number, 0, 4096, 0o666) for number in (${x64 ? "29, 64, 68" : "194, 190, 186"})]`,
      ends: "['EPERM', 'EPERM', 'EPERM']",
    },
    {
      name: "modules, kexec, reboot, swap, the clock",
      code: `${LIBC}[call(number, 0, 0, 0, 0, 0) for number in (${x64 ? "175, 313, 246, 169, 167, 227" : "105, 273, 104, 142, 224, 112"})]`,
      ends: /^\[('EPERM'(, )?){6}\]$/,
    },
    {
      name: "typing into a terminal",
      code: "import fcntl, pty\nmaster, slave = pty.openpty()\noutcome(fcntl.ioctl, slave, 0x5412, b'x')",
      ends: "'EPERM'",
      reduced: /out of pty devices/,
    },
    ...(x64
      ? [
          {
            name: "calls under the numbers of x32",
            code: `${LIBC}call(0x40000000 | 272, 0x10000000)`,
            ends: "'ENOSYS'",
          },
        ]
      : []),
  ]);
});

describe("what is seen", () => {
  attack(at, userAt, [
    {
      name: "processes of others",
      code: "sorted(int(name) for name in os.listdir('/proc') if name.isdigit()) == [1, os.getpid()]",
      ends: "True",
      reduced: null,
      // One that has run something is not alone: there are copies of its kernel.
      alone: true,
    },
    {
      name: "the host's environment",
      code: "sorted(os.environ)",
      ends: "['HOME', 'LANG', 'MPLBACKEND', 'PATH', 'PYTHONPATH', 'TMPDIR']",
    },
    {
      name: "the environment of process 1",
      code: "outcome(open, '/proc/1/environ', 'rb')",
      ends: "'EACCES'",
    },
    {
      name: "the host's name",
      code: "import socket\nsocket.gethostname()",
      ends: "'sandbox'",
      reduced: null,
    },
    {
      name: "the daemon by its number",
      code: `outcome(os.kill, ${process.pid}, 0)`,
      ends: "'ESRCH'",
      reduced: "'EPERM'",
    },
    {
      name: "ending or stopping what holds the session",
      code: "import signal\n[outcome(os.kill, os.getppid(), number) for number in (signal.SIGSTOP, signal.SIGKILL)]",
      ends: "[None, None]",
      reduced: "['EPERM', 'EPERM']",
    },
    {
      name: "killing process 1",
      code: "import signal\nos.kill(1, signal.SIGKILL); os.kill(1, signal.SIGTERM)\n'still'",
      ends: "'still'",
      reduced: /^PermissionError/,
    },
  ]);
});

describe("what is left", () => {
  test("a daemon that forks twice and ignores signals ends with its session", async () => {
    const { client } = at();
    const mark = `71${process.pid}`;
    await client.execute({
      session: "daemon",
      code: `import os, signal, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        for number in range(1, 32):
            try: signal.signal(number, signal.SIG_IGN)
            except OSError: pass
        os.execvp('sleep', ['sleep', '${mark}'])
    os._exit(0)
time.sleep(0.2)`,
    });
    const processes = (): string => execFileSync("ps", ["-eo", "args"], { encoding: "utf8" });
    expect(processes()).toContain(`sleep ${mark}`);
    await client.closeSession("daemon");
    counted();
    expect(processes()).not.toContain(`sleep ${mark}`);
  });

  test.each(["sandbox", "reduced"] as const)(
    "a session that ignores every signal and stops itself ends: %s",
    async (isolation) => {
      const { client } = at();
      const session = `stubborn-${isolation}`;
      const mark = `${isolation === "sandbox" ? 72 : 74}${process.pid}`;
      const running = client.execute({
        session,
        isolation,
        code: `import os, signal, subprocess
held = subprocess.Popen(['sleep', '${mark}'], start_new_session=True)
for number in range(1, 65):
    try: signal.signal(number, signal.SIG_IGN)
    except (OSError, ValueError): pass
signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))
print('deaf', flush=True)
os.kill(os.getpid(), signal.SIGSTOP)
while True: pass`,
        timeoutMs: 3_000,
      });
      expect(await running).toMatchObject({ status: "running", stdout: "deaf\n" });
      const processes = (): string => execFileSync("ps", ["-eo", "args"], { encoding: "utf8" });
      expect(processes()).toContain(`sleep ${mark}`);
      await client.closeSession(session);
      expect(await client.wait((await running).id)).toMatchObject({ status: "interrupted", state: "lost" });
      expect(processes()).not.toContain(`sleep ${mark}`);
      counted(isolation === "sandbox" ? "sandbox" : "reduced tier");
    },
  );

  test.each(["sandbox", "reduced"] as const)(
    "limits, processors and priorities of others stay: %s",
    async (isolation) => {
      const { client } = at();
      await client.execute({ session: `owner-${isolation}`, isolation, code: "1" });
      const { pid } = await client.showSession(`owner-${isolation}`);
      const daemon = (await client.health()).pid;
      const record = await client.execute({
        session: `meddler-${isolation}`,
        isolation,
        code: `import errno, os, resource
def outcome(function, *arguments):
    try: function(*arguments)
    except OSError as error: return errno.errorcode[error.errno]
    return 'done'
tried = [attempt for pid in (${pid}, ${daemon}) for attempt in (
    outcome(resource.prlimit, pid, resource.RLIMIT_CPU, (1, 1)),
    outcome(os.sched_setaffinity, pid, {0}),
    outcome(os.sched_setscheduler, pid, os.SCHED_IDLE, os.sched_param(0)),
    outcome(os.setpriority, os.PRIO_PROCESS, pid, 19),
)]
own = [outcome(os.setpriority, os.PRIO_PROCESS, 0, 10), outcome(os.sched_setaffinity, 0, {min(os.sched_getaffinity(0))}), outcome(resource.setrlimit, resource.RLIMIT_CPU, (600, 600))]
sorted(set(tried)), sorted(set(own)), outcome(os.setpriority, os.PRIO_USER, 0, 19) == '${isolation === "reduced" ? "EPERM" : "done"}'`,
      });
      counted(isolation === "sandbox" ? "sandbox" : "reduced tier");
      expect(record.result?.text).toBe(
        `(['${isolation === "reduced" ? "EPERM" : "ESRCH"}'], ['done'], True)`,
      );
    },
  );

  test("a fork bomb stays in its box, and other sessions answer", async () => {
    const { client } = at();
    await client.execute({ session: "calm", code: "1" });
    const bomb = client.execute({
      session: "bomb",
      code: `import os, time, errno
made = 0
try:
    while made < 3000:
        if os.fork() == 0:
            time.sleep(20); os._exit(0)
        made += 1
except OSError as error:
    ended = errno.errorcode[error.errno]
ended, made < 1000`,
      timeoutMs: 30_000,
    });
    const calm = await client.execute({ session: "calm", code: "'calm'" });
    expect(calm.result?.text).toBe("'calm'");
    expect((await bomb).result?.text).toBe("('EAGAIN', True)");
    counted();
    await client.closeSession("bomb");
    expect((await client.execute({ session: "calm", code: "'still'" })).result?.text).toBe("'still'");
  });
});
