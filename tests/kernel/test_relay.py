"""The network relay: carries bytes to the daemon's proxy, and is no session's business."""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import tempfile
import threading
import unittest
from pathlib import Path

from harness import Box, Kernel, alive, descendants, wait_until

LIMIT = 128
DESCRIPTORS = 4
"""What a relay without connections has: the standard three, and its listening socket."""


def free_port() -> int:
    """A port that nobody listens on, below those that the system gives to others in the meantime."""
    while True:
        port = random.randrange(10_000, 32_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


class Proxy:
    """Plays the daemon's proxy: each connection is given to a function, in a thread of its own."""

    def __init__(self, path: str, handle) -> None:
        self._path = path
        self._handle = handle
        self.open: list = []
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(path)
        self._listener.listen(256)
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._one, args=(connection,), daemon=True).start()

    def _one(self, connection: socket.socket) -> None:
        self.open.append(connection)
        with connection:
            self._handle(connection)
        self.open.remove(connection)

    def close(self) -> None:
        # A thread that waits in accept keeps the socket open otherwise.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        os.unlink(self._path)


def echo(connection: socket.socket) -> None:
    try:
        while True:
            data = connection.recv(65536)
            if not data:
                return
            connection.sendall(data)
    except OSError:
        return  # The client is gone.


def everything(connection: socket.socket) -> bytes:
    """What comes until the end."""
    received = bytearray()
    while True:
        data = connection.recv(1 << 20)
        if not data:
            return bytes(received)
        received += data


class RelayTest(unittest.TestCase):
    def setUp(self) -> None:
        self.folder = tempfile.mkdtemp(prefix="ec-")
        self.addCleanup(shutil.rmtree, self.folder)
        self.path = os.path.join(self.folder, "proxy.sock")
        self.port = free_port()
        self.box = Box(arguments=(self.folder, self.path, str(self.port)))
        self.addCleanup(self.box.close)
        self.box.__enter__()

    def serve(self, handle=echo) -> Proxy:
        proxy = Proxy(self.path, handle)
        self.addCleanup(proxy.close)
        return proxy

    def dial(self) -> socket.socket:
        client = socket.create_connection(("127.0.0.1", self.port), timeout=15)
        self.addCleanup(client.close)
        return client

    def fork(self) -> Kernel:
        """A kernel whose pid is known."""
        kernel = self.box.fork()
        self.box.pump_until(lambda: kernel.pid != 0, "the report of the fork")
        return kernel

    def relay(self) -> int:
        """Pid of the relay, when there is one again."""
        kernels = {kernel.pid for kernel in self.box.kernels.values()}
        find = lambda: [pid for pid in descendants(self.box.process.pid) - kernels if alive(pid)]  # noqa: E731
        return wait_until(find, "the relay")[0]

    def wait_descriptors(self, condition) -> None:
        """Waits until a condition holds for how many descriptors the relay has."""
        relay = self.relay()
        wait_until(lambda: condition(len(os.listdir(f"/proc/{relay}/fd"))), "the relay's descriptors", 25.0)

    def assert_relays(self) -> None:
        client = self.dial()
        client.sendall(b"ping")
        self.assertEqual(client.recv(100), b"ping")
        client.close()

    # ── bytes ───────────────────────────────────────────────────────────────────────────────────────────────

    def test_carries_bytes_both_ways_from_the_moment_the_box_is_ready(self):
        self.serve()
        client = self.dial()
        client.sendall(b"hello")
        self.assertEqual(client.recv(100), b"hello")
        client.sendall(b"again")
        client.shutdown(socket.SHUT_WR)
        self.assertEqual(everything(client), b"again")

    def test_passes_each_end_on_by_itself(self):
        def count(connection: socket.socket) -> None:
            connection.sendall(b"first ")
            connection.sendall(str(len(everything(connection))).encode())

        self.serve(count)
        client = self.dial()
        self.assertEqual(client.recv(100), b"first ")
        client.sendall(b"x" * 1000)
        client.shutdown(socket.SHUT_WR)
        self.assertEqual(everything(client), b"1000")

    def test_carries_much_both_ways_at_once(self):
        self.serve()
        size = 64 << 20
        client = self.dial()

        def send() -> None:
            block = os.urandom(1 << 16)
            for _ in range(size // len(block)):
                client.sendall(block)
            client.shutdown(socket.SHUT_WR)

        sender = threading.Thread(target=send)
        sender.start()
        self.assertEqual(len(everything(client)), size)
        sender.join()

    def test_who_does_not_read_stops_who_sends(self):
        sent = [0]

        def pour(connection: socket.socket) -> None:
            try:
                while sent[0] < 256 << 20:
                    sent[0] += connection.send(b"x" * 65536)
            except OSError:
                return

        self.serve(pour)
        self.dial()
        before = [-1]

        def stands() -> bool:
            before.append(sent[0])
            return sent[0] > 0 and len(before) > 100 and before[-100] == sent[0]

        wait_until(stands, "the sender's wait")
        self.assertLess(sent[0], 32 << 20)

    def test_delivers_the_answer_of_a_proxy_that_takes_nothing(self):
        def refuse(connection: socket.socket) -> None:
            connection.sendall(b"HTTP/1.1 503 no\r\n\r\n")

        self.serve(refuse)
        for _ in range(20):
            client = self.dial()
            client.sendall(b"GET / HTTP/1.1\r\n" + b"x" * 100_000)
            self.assertEqual(everything(client), b"HTTP/1.1 503 no\r\n\r\n")
            client.close()

    def test_says_when_there_is_no_proxy(self):
        client = self.dial()
        client.sendall(b"GET http://example.com/ HTTP/1.1\r\n\r\n")
        self.assertRegex(everything(client), rb"^HTTP/1\.1 503 [\s\S]*does not answer\.\n$")
        self.serve()
        self.assert_relays()

    def test_ends_with_a_client_that_resets(self):
        proxy = self.serve()
        client = self.dial()
        client.sendall(b"x")
        client.recv(1)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        client.close()
        wait_until(lambda: not proxy.open, "the proxy's end")
        self.assert_relays()

    def test_closes_what_it_opened(self):
        self.serve()
        for _ in range(300):
            self.assert_relays()
        self.wait_descriptors(lambda count: count == DESCRIPTORS)

    def test_many_connections_are_capped_and_the_rest_waits(self):
        proxy = self.serve()
        clients = [self.dial() for _ in range(LIMIT + 40)]
        for client in clients:
            client.sendall(b"x")
        wait_until(lambda: len(proxy.open) == LIMIT, "as many as there may be")
        for client in clients[:LIMIT]:
            self.assertEqual(client.recv(1), b"x")
            client.close()
        for client in clients[LIMIT:]:
            self.assertEqual(client.recv(1), b"x")

    def test_a_client_that_does_not_close_loses_its_place_after_the_proxy_has_ended(self):
        self.serve(lambda connection: connection.sendall(b"bye"))
        self.wait_descriptors(lambda count: count == DESCRIPTORS)
        client = self.dial()
        self.wait_descriptors(lambda count: count > DESCRIPTORS)
        self.wait_descriptors(lambda count: count == DESCRIPTORS)
        self.assertEqual(everything(client), b"bye")

    # ── its place ───────────────────────────────────────────────────────────────────────────────────────────

    def test_holds_nothing_of_the_supervisor_nor_do_kernels_hold_its_port(self):
        relay = self.relay()
        self.wait_descriptors(lambda count: count == DESCRIPTORS)
        kinds = {os.readlink(f"/proc/{relay}/fd/{fd}").partition(":")[0] for fd in os.listdir(f"/proc/{relay}/fd")}
        self.assertLessEqual(kinds, {"/dev/null", str(self.box.folder / "stderr"), "socket"})
        sockets = [fd for fd in os.listdir(f"/proc/{relay}/fd") if os.readlink(f"/proc/{relay}/fd/{fd}").startswith("socket")]
        self.assertEqual(len(sockets), 1)
        held = os.readlink(f"/proc/{relay}/fd/{sockets[0]}")
        kernel = self.fork()
        links = [os.readlink(f"/proc/{kernel.pid}/fd/{fd}") for fd in os.listdir(f"/proc/{kernel.pid}/fd")]
        self.assertNotIn(held, links)
        status = Path(f"/proc/{relay}/status").read_text()
        self.assertRegex(status, r"SigCgt:\s+0+2?\n")
        self.assertIn("Threads:\t1\n", status)
        self.assertEqual(os.getsid(relay), relay)

    def test_is_not_dumpable(self):
        if os.getuid() == 0:
            # What belongs to a process that is not dumpable belongs to root: that shows for others only.
            self.skipTest("root's processes look alike")
        self.assertEqual(os.stat(f"/proc/{self.relay()}/environ").st_uid, 0)

    def test_is_no_process_of_any_kernel(self):
        self.serve()
        relay = self.relay()
        kernel = self.fork()
        run = kernel.start("print('on', flush=True)\nimport time\ntime.sleep(600)").wait_output("on")
        kernel.interrupt(run)
        run.wait()
        kernel.signal(signal.SIGKILL, "leftover")
        self.assertTrue(alive(relay))
        kernel.signal(signal.SIGKILL, "tree")
        kernel.wait_exit()
        self.assertTrue(alive(relay))
        self.assertEqual(self.relay(), relay)
        self.assert_relays()
        self.assertEqual(len([report for report in self.box.reports if report["type"] == "exited"]), 1)

    def test_is_replaced_when_it_was_killed_and_connections_wait_for_it(self):
        self.serve()
        kernel = self.fork()
        relay = self.relay()
        self.assertEqual(kernel.value(f"import os; os.kill({relay}, 9)"), None)
        self.assert_relays()
        self.assertNotEqual(self.relay(), relay)
        faults = lambda: [report for report in self.box.reports if report["type"] == "fault"]  # noqa: E731
        self.box.pump_until(faults, "the fault")
        self.assertEqual(faults()[0]["kernel"], None)
        self.assertIn("relay", faults()[0]["message"])
        self.assertEqual(kernel.value("1 + 1"), "2")

    def test_is_replaced_the_later_the_more_often_it_is_killed(self):
        kernel = self.fork()
        self.assertEqual(
            kernel.value(
                f"""
import os, time
supervisor = {self.box.process.pid}
def relays():
    found = []
    for name in os.listdir('/proc'):
        if name.isdigit() and int(name) != os.getpid():
            try: fields = open(f'/proc/{{name}}/stat').read().rpartition(')')[2].split()
            except OSError: continue
            if int(fields[1]) == supervisor and fields[0] not in 'ZX': found.append(int(name))
    return found
end = time.monotonic() + 3
killed = set()
while time.monotonic() < end:
    for pid in relays():
        os.kill(pid, 9)
        killed.add(pid)
    time.sleep(0.005)
2 <= len(killed) <= 6"""
            ),
            "True",
        )

    def test_ends_with_its_supervisor(self):
        relay = self.relay()
        self.box.process.kill()
        wait_until(lambda: not alive(relay), "the relay's end")

    def test_a_port_that_is_taken_is_a_failure_to_start(self):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            box = Box(arguments=(self.folder, self.path, str(taken.getsockname()[1])))
            self.assertEqual(box.process.wait(), 1)
            self.assertIn("relay cannot listen", box.complaints)
            box.close()

    def test_there_is_none_without_a_proxy(self):
        with Box(arguments=(self.folder,)) as box:
            self.assertEqual(descendants(box.process.pid), set())


if __name__ == "__main__":
    unittest.main()
