/** Files: what is not the session's cannot be read, written or even named. */
import { existsSync, symlinkSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import path from "node:path";
import { describe, expect, test } from "vitest";
import { arena, attack, counted, userArena } from "./attack.ts";

const at = arena();
const userAt = userArena();

describe("writing outside the workspace", () => {
  attack(
    at,
    userAt,
    ["/", "/usr", "/etc", "/dev", "/opt/kernel/execute_code_kernel", "/run/k", "/sys/kernel", "/root"].map(
      (folder) => ({
        name: `a new file in ${folder}`,
        code: `outcome(open, '${folder}/planted', 'w')`,
        ends: /^'(EROFS|ENOENT|EACCES|EPERM)'$/,
      }),
    ),
  );
  attack(at, userAt, [
    {
      name: "the kernel's own code",
      code: "outcome(open, '/opt/kernel/execute_code_kernel/kernel.py', 'a')",
      ends: /^'(EROFS|EACCES)'$/,
      reduced: "'ENOENT'",
    },
    {
      name: "the interpreter",
      code: "outcome(open, sys.executable, 'r+')",
      ends: /^'(EROFS|EACCES|ETXTBSY)'$/,
    },
    {
      name: "settings of the machine's kernel",
      code: "[outcome(open, '/proc/sys/' + name, 'w') for name in ('kernel/core_pattern', 'vm/drop_caches', 'kernel/hostname')]",
      ends: /^\[('(EROFS|EACCES)'(, )?)+\]$/,
    },
    { name: "sysrq", code: "outcome(open, '/proc/sysrq-trigger', 'w')", ends: /'(EROFS|EACCES|ENOENT)'/ },
    {
      name: "a new mount",
      code: "import ctypes\nlibc = ctypes.CDLL(None, use_errno=True)\nlibc.mount(b'none', b'/tmp', b'tmpfs', 0, None), errno.errorcode[ctypes.get_errno()]",
      ends: "(-1, 'EPERM')",
    },
    {
      name: "remounting writable",
      code: "import ctypes\nlibc = ctypes.CDLL(None, use_errno=True)\nlibc.mount(None, b'/usr', None, 32 | 4096, None), errno.errorcode[ctypes.get_errno()]",
      ends: "(-1, 'EPERM')",
    },
    {
      name: "a device node",
      code: "outcome(os.mknod, 'disk', 0o60600, os.makedev(254, 0))",
      ends: "'EPERM'",
    },
    { name: "chroot", code: "outcome(os.chroot, '/work')", ends: "'EPERM'" },
  ]);
});

describe("reading what is not the session's", () => {
  attack(
    at,
    userAt,
    [
      "/etc/shadow",
      "/etc/passwd",
      "/etc/hostname",
      "/var/lib",
      "/home",
      "/boot",
      "/srv",
      "/mnt",
      "/var/log",
    ].map((file) => ({
      name: `reading ${file}`,
      code: `outcome(os.listdir if os.path.isdir('${file}') else open, '${file}')`,
      ends: "'ENOENT'",
      // Their names are seen, as all names are.
      reduced: "'EACCES'",
    })),
  );
  attack(at, userAt, [
    {
      name: "the user's home",
      code: `[name for name in (os.listdir(${JSON.stringify(homedir())}) if os.path.isdir(${JSON.stringify(homedir())}) else []) if name not in ('.pyenv', '.local')]`,
      ends: "[]",
      reduced: /^PermissionError/,
    },
    {
      name: "the daemon's folder",
      code: ({ home }) => `outcome(os.listdir, ${JSON.stringify(home)})`,
      ends: "'ENOENT'",
      reduced: "'EACCES'",
    },
    {
      name: "the mode of the daemon's folder",
      code: ({ home }) =>
        `import ctypes\nlibc = ctypes.CDLL(None, use_errno=True)\nlibc.chmod(${JSON.stringify(home)}.encode(), 0o777), errno.errorcode[ctypes.get_errno()]`,
      ends: "(-1, 'ENOENT')",
      reduced: "(-1, 'EPERM')",
    },
    {
      name: "times and attributes of the daemon's folder",
      code: ({ home }) =>
        `[outcome(os.utime, ${JSON.stringify(home)}), outcome(os.setxattr, ${JSON.stringify(home)}, 'user.x', b''), outcome(os.chown, ${JSON.stringify(home)}, -1, -1)]`,
      ends: "['ENOENT', 'ENOENT', 'ENOENT']",
      reduced: "['EACCES', 'EPERM', 'EPERM']",
    },
    {
      name: "modes and times of its own files",
      code: "import shutil\nopen('mine', 'w').close(); os.chmod('mine', 0o640); os.utime('mine', (1, 2)); shutil.copy2('mine', 'other')\noct(os.stat('other').st_mode), os.stat('other').st_mtime",
      ends: "('0o100640', 2.0)",
    },
    {
      name: "the daemon's API socket",
      code: ({ home }) =>
        `import socket\noutcome(lambda file: socket.socket(socket.AF_UNIX).connect(file), ${JSON.stringify(path.join(home, "daemon.sock"))})`,
      ends: "'ENOENT'",
      reduced: "'EACCES'",
    },
    {
      name: "any socket in the box but the kernel's own",
      code: "import stat\n[os.path.join(d, f) for d, _, fs in os.walk('/run') for f in fs if stat.S_ISSOCK(os.lstat(os.path.join(d, f)).st_mode)]",
      ends: "['/run/k/kernel.sock']",
      reduced: "[]",
    },
    {
      name: "memory and disks",
      code: "[outcome(open, '/dev/' + name, 'rb') for name in ('mem', 'kmem', 'kmsg', 'vda', 'sda', 'fuse', 'kvm', 'net/tun')]",
      ends: /^\[('ENOENT'(, )?)+\]$/,
      reduced: /^\[('(ENOENT|EACCES)'(, )?)+\]$/,
    },
    {
      name: "the way out through a descriptor",
      code: "[os.readlink('/proc/self/fd/' + fd) for fd in os.listdir('/proc/self/fd') if os.path.exists('/proc/self/fd/' + fd) and not os.readlink('/proc/self/fd/' + fd).startswith(('pipe:', 'socket:', '/dev/null', '/run/k/', '/proc/', 'anon_inode:'))]",
      ends: "[]",
      // The box's own FIFOs, whose names are the machine's here.
      reduced: /^\[('[^']*\/run\/[0-9a-z]+\/f[123] \(deleted\)'(, )?)*\]$/,
    },
    {
      name: "process 1's root",
      code: "outcome(os.listdir, '/proc/1/root/'), outcome(os.listdir, '/proc/1/fd')",
      ends: /EACCES/,
    },
    {
      name: "file handles",
      code: "import ctypes\nlibc = ctypes.CDLL(None, use_errno=True)\nlibc.syscall(304, -100, None, 0), errno.errorcode[ctypes.get_errno()]",
      ends: "(-1, 'EPERM')",
    },
  ]);

  test("another session's workspace", async () => {
    const { client } = at();
    await client.execute({ session: "victim", code: "open('secret', 'w').write('mine')" });
    const { workspace } = await client.showSession("victim");
    const record = await client.execute({
      session: "thief",
      code: `import os\n[os.path.exists(p) for p in (${JSON.stringify(workspace)}, '/work/secret', '/work/../secret')]`,
    });
    counted();
    expect(record.result?.text).toBe("[False, False, False]");
  });

  test("through a link that the host's user put into the workspace", async () => {
    const { client } = at();
    await client.execute({ session: "links", code: "1" });
    const { workspace } = await client.showSession("links");
    const outside = path.join(at().home, "outside");
    writeFileSync(outside, "host");
    symlinkSync(outside, path.join(workspace, "link"));
    const record = await client.execute({
      session: "links",
      code: "import os\ntry: open('link').read()\nexcept OSError as e: print(type(e).__name__)",
    });
    counted();
    expect(record.stdout).toBe("FileNotFoundError\n");
  });

  test("what is planted in the workspace is run by nobody outside", async () => {
    const { client } = at();
    const mark = path.join(at().home, "planted");
    await client.execute({
      session: "planter",
      code: `import os
code = "import os\\ntry: open(${JSON.stringify(mark)}, 'a').write('ran')\\nexcept OSError: pass\\n"
for name in ('sitecustomize', 'usercustomize', 'json', 'execute_code_kernel', '__main__', 'encodings', 'conftest'):
    open(name + '.py', 'w').write(code)
open('startup.pth', 'w').write(code.replace('\\n', ';'))
script = '#!/bin/sh\\ntouch ${mark}\\n'
os.makedirs('.git/hooks'); os.makedirs('bin'); os.makedirs('venv/bin')
for name in ('.git/hooks/post-checkout', '.git/hooks/pre-commit', 'bin/python3', 'venv/bin/python3', 'du', 'mkfifo', 'bwrap', '.bashrc', '.profile', 'activate'):
    open(name, 'w').write(script); os.chmod(name, 0o755)
open('.git/config', 'w').write('[core]\\n fsmonitor = "touch ${mark}"\\n')`,
    });
    // Everything that the daemon does with a session's folder.
    await client.files("planter", "");
    await client.resetSession("planter");
    const again = await client.execute({ session: "planter", code: "import json; json.__file__" });
    await (await client.session("planter")).inspect();
    await client.closeSession("planter");
    counted();
    expect(again.status).toBe("ok");
    expect(existsSync(mark)).toBe(false);
  });
});
