/** Resources: what has a limit ends in an error that code can handle; the session lives. */
import { describe } from "vitest";
import { arena, attack } from "./attack.ts";

const at = arena();

describe("limits", () => {
  attack(at, [
    {
      name: "memory without end",
      code: "try:\n    held = []\n    while True: held.append(bytearray(1 << 28))\nexcept MemoryError: held = None; ended = 'MemoryError'\nended",
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
      code: "f = open('/tmp/big', 'wb')\ntry:\n    while True: f.write(bytes(1 << 24)); f.flush()\nexcept OSError as e: ended = errno.errorcode[e.errno]\ntry: f.close()\nexcept OSError: pass\nos.remove('/tmp/big'); ended",
      ends: "'ENOSPC'",
    },
    {
      name: "a full /dev/shm",
      code: "f = open('/dev/shm/big', 'wb')\ntry:\n    while True: f.write(bytes(1 << 24)); f.flush()\nexcept OSError as e: ended = errno.errorcode[e.errno]\ntry: f.close()\nexcept OSError: pass\nos.remove('/dev/shm/big'); ended",
      ends: "'ENOSPC'",
    },
    {
      name: "raising the limits",
      code: "import resource\ndef raised(kind):\n    try: resource.setrlimit(kind, (resource.RLIM_INFINITY,) * 2); return 'raised'\n    except (ValueError, OSError) as e: return type(e).__name__\n[raised(kind) for kind in (resource.RLIMIT_DATA, resource.RLIMIT_NPROC, resource.RLIMIT_NOFILE, resource.RLIMIT_FSIZE)]",
      ends: "['ValueError', 'ValueError', 'ValueError', 'ValueError']",
    },
    { name: "a higher priority", code: "outcome(os.nice, -5)", ends: /'(EPERM|EACCES)'/ },
  ]);
});
