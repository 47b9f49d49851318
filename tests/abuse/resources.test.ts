/** Resources: what has a limit ends in an error that code can handle; the session lives. */
import { describe } from "vitest";
import { arena, attack, userArena } from "./attack.ts";

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
    { name: "a higher priority", code: "outcome(os.nice, -5)", ends: /'(EPERM|EACCES)'/ },
  ]);
});
