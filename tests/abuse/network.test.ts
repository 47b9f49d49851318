/** Network: there is none. */
import { createServer } from "node:net";
import { describe, expect, test } from "vitest";
import { arena, attack, counted, userArena } from "./attack.ts";

const at = arena();
const userAt = userArena();

describe("reaching out", () => {
  attack(at, userAt, [
    {
      name: "TCP to the internet",
      code: "import socket\noutcome(socket.create_connection, ('1.1.1.1', 53), 2)",
      ends: "'ENETUNREACH'",
      reduced: "'EACCES'",
    },
    {
      name: "UDP to the internet",
      code: "import socket\noutcome(socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto, b'x', ('8.8.8.8', 53))",
      ends: "'ENETUNREACH'",
      reduced: /^PermissionError/,
    },
    {
      name: "IPv6",
      code: "import socket\noutcome(socket.create_connection, ('2606:4700:4700::1111', 53), 2)",
      ends: /ENETUNREACH|EADDRNOTAVAIL|EAFNOSUPPORT/,
      reduced: "'EACCES'",
    },
    {
      name: "names",
      code: "import socket\ntry: r = socket.getaddrinfo('example.com', 80)\nexcept OSError as e: r = type(e).__name__\nr",
      ends: "'gaierror'",
    },
    {
      name: "the metadata address",
      code: "import socket\noutcome(socket.create_connection, ('169.254.169.254', 80), 2)",
      ends: "'ENETUNREACH'",
      reduced: "'EACCES'",
    },
    {
      name: "netlink, packet, vsock, bluetooth and alg sockets",
      code: "import socket\n[outcome(socket.socket, family, kind) for family, kind in ((16, 3), (17, 3), (40, 1), (31, 3), (38, 5), (44, 3))]",
      ends: /^\[('EAFNOSUPPORT'(, )?){6}\]$/,
      reduced: /^\[('EACCES'(, )?){6}\]$/,
    },
    {
      name: "raw sockets",
      code: "import socket\noutcome(socket.socket, socket.AF_INET, socket.SOCK_RAW, 1)",
      ends: "'EPERM'",
      reduced: "'EACCES'",
    },
    {
      name: "a route to anywhere",
      code: "open('/proc/net/route').read().count('\\n')",
      ends: "1",
      reduced: null,
    },
  ]);

  test("a server on the host's loopback, and an abstract socket of the host", async () => {
    const server = createServer((socket) => socket.end("reached"));
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const abstract = createServer((socket) => socket.end("reached"));
    await new Promise<void>((resolve) => abstract.listen(`\0ec-abuse-${process.pid}`, resolve));
    const { port } = server.address() as { port: number };
    const { client } = at();
    const record = await client.execute({
      session: "loopback",
      code: `import socket, errno
def tried(family, address):
    try: socket.socket(family).connect(address); return 'reached'
    except OSError as e: return errno.errorcode[e.errno]
tried(socket.AF_INET, ('127.0.0.1', ${port})), tried(socket.AF_UNIX, '\\0ec-abuse-${process.pid}')`,
    });
    counted();
    expect(record.result?.text).toMatch(/^\('(ECONNREFUSED|ENETUNREACH)', 'ECONNREFUSED'\)$/);
    server.close();
    abstract.close();
  });
});
