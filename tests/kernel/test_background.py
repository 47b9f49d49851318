"""What goes on after a cell's end: threads, tasks, processes, and whose output they write."""

from __future__ import annotations

import unittest

from harness import KernelTest


class BackgroundTest(KernelTest):
    def wait_left(self, pair: int, text: str) -> None:
        """Waits for late output on an earlier pair of streams."""
        stdout = self.kernel.left[pair][0]
        self.box.pump_until(lambda: text.encode() in stdout.everything, f"late output {text!r}")

    def test_what_lingers_is_told(self):
        for code, lingering in (
            ("1", False),
            ("import threading; threading.Thread(target=int).start()", None),
            ("go = threading.Event(); threading.Thread(target=go.wait).start()", True),
            ("1", False),
            ("go.set()", False),
            ("import subprocess; p = subprocess.Popen(['sleep', '600'])", True),
            ("p.kill(); p.wait()", True),
            ("1", False),
            ("import os; os.system('sleep 600 >/dev/null 2>&1 &')", True),
            ("import asyncio; t = asyncio.ensure_future(asyncio.sleep(600)); await asyncio.sleep(0)", True),
            ("1", False),
            ("t.cancel(); await asyncio.sleep(0)", False),
        ):
            run = self.run_ok(code)
            if lingering is not None:
                self.assertEqual(run.done["lingering"], lingering, code)

    def test_a_thread_writes_to_its_own_execution(self):
        self.run_ok(
            """
            import threading, sys
            go, done = threading.Event(), threading.Event()
            def work():
                go.wait()
                print('from the thread'); print('its error', file=sys.stderr)
                done.set()
            threading.Thread(target=work).start()
            """
        )
        run = self.kernel.run("go.set(); done.wait(); print('mine')", fresh_streams=True)
        self.assertEqual((run.stdout, run.stderr), ("mine\n", ""))
        self.wait_left(0, "from the thread\n")
        self.assertEqual(self.kernel.left[0][1].everything, b"its error\n")

    def test_a_pool_thread_writes_to_who_gives_it_work(self):
        self.run_ok(
            "from concurrent.futures import ThreadPoolExecutor\npool = ThreadPoolExecutor(2)\nlist(pool.map(str, range(4)))"
        )
        run = self.kernel.run("list(pool.map(print, range(3))); pool.shutdown()", fresh_streams=True)
        self.assertEqual(sorted(run.stdout.split()), ["0", "1", "2"])

    def test_a_process_writes_to_its_own_execution(self):
        self.run_ok("import subprocess; p = subprocess.Popen('read x; echo late', shell=True, stdin=subprocess.PIPE)")
        run = self.kernel.run(r"p.communicate(b'\n'); print('mine')", fresh_streams=True)
        self.assertEqual(run.stdout, "mine\n")
        self.wait_left(0, "late\n")

    def test_a_task_writes_to_its_own_execution(self):
        self.run_ok(
            """
            import asyncio
            go = asyncio.Event()
            async def work():
                await go.wait()
                print('from the task')
            task = asyncio.ensure_future(work())
            await asyncio.sleep(0)
            """
        )
        run = self.kernel.run("go.set(); await task; print('mine')", fresh_streams=True)
        self.assertEqual(run.stdout, "mine\n")
        self.wait_left(0, "from the task\n")

    def test_streams_end_when_nobody_is_left_to_write(self):
        self.run_ok("import threading; go = threading.Event(); t = threading.Thread(target=go.wait); t.start(); print(1)")
        self.kernel.run("2", fresh_streams=True)
        stdout = self.kernel.left[0][0]
        self.assertFalse(stdout.ended)
        self.run_ok("go.set(); t.join()")
        self.box.pump_until(lambda: stdout.ended, "the end of the earlier stream")
        self.assertEqual(self.run_ok("print(3)").stdout, "3\n")

    def test_many_changes_of_streams_leak_nothing(self):
        count = "import os; len(os.listdir('/proc/self/fd'))"
        before = self.kernel.value(count)
        for number in range(20):
            self.assertEqual(self.kernel.run(f"print({number})", fresh_streams=True).stdout, f"{number}\n")
        self.assertEqual(self.kernel.value(count), before)

    def test_streams_that_cannot_be_opened_leave_the_old_ones(self):
        self.kernel.stdout.running = self.kernel.stderr.running = "exec_lost"
        streams = {"stdout": "/nowhere", "stderr": "/nowhere"}
        self.kernel.send({"type": "execute", "id": "exec_lost", "code": "print('still')", "env": {}, "streams": streams})
        done = lambda: [f for f in self.kernel.frames if f["type"] == "done"]  # noqa: E731
        self.box.pump_until(done, "the end")
        self.assertEqual(self.kernel.stdout.everything, b"still\n")

    def test_tasks_go_on_between_cells(self):
        self.run_ok(
            """
            import asyncio
            async def count():
                for n in range(3):
                    await asyncio.sleep(0.01)
                    print('tick', n, flush=True)
            task = asyncio.ensure_future(count())
            await asyncio.sleep(0)
            """
        )
        self.box.pump_until(lambda: b"tick 2" in self.kernel.stdout.late, "late output of a task")
        self.assertEqual(self.kernel.value("task.done()"), "True")

    def test_a_server_answers_between_cells(self):
        self.run_ok(
            """
            import asyncio, socket, threading
            async def serve(reader, writer):
                writer.write(await reader.readline()); await writer.drain(); writer.close()
            server = await asyncio.start_server(serve, '127.0.0.1', 0)
            port = server.sockets[0].getsockname()[1]
            answers = []
            def ask():
                with socket.create_connection(('127.0.0.1', port)) as s:
                    s.sendall(b'hello\\n'); answers.append(s.recv(100)); print('answered', flush=True)
            threading.Thread(target=ask).start()
            """
        )
        self.box.pump_until(lambda: b"answered" in self.kernel.stdout.everything, "an answer between cells")

    def test_a_task_that_asks_between_cells(self):
        self.run_ok(
            """
            import asyncio
            async def ask():
                await asyncio.sleep(0.01)
                try: print('got', input('? '), flush=True)
                except EOFError as e: print('none', e, flush=True)
            task = asyncio.ensure_future(ask()); await asyncio.sleep(0)
            """
        )
        asked = lambda: [f for f in self.kernel.frames if f["type"] == "input"]  # noqa: E731
        self.box.pump_until(asked, "a question")
        self.kernel.reply(asked()[0]["request"], None, "nothing runs")
        self.box.pump_until(lambda: b"none nothing runs" in self.kernel.stdout.everything, "the refusal")
        self.assert_alive()

    def test_a_thread_that_reads_the_channel_loses_no_request(self):
        self.run_ok("import asyncio, threading; await asyncio.sleep(0)\ngo = threading.Event()")
        self.run_ok(
            """
            def ask():
                try: ec.history()
                except RuntimeError: pass
                print('told', flush=True)
            threading.Thread(target=ask).start()
            """
        )
        asked = lambda: [f for f in self.kernel.frames if f["type"] == "call"]  # noqa: E731
        self.box.pump_until(asked, "a call")
        run = self.kernel.start("'next'")
        self.assertEqual(run.wait().text, "'next'")
        self.kernel.reply(asked()[0]["request"], [])
        self.box.pump_until(lambda: b"told" in self.kernel.stdout.everything, "the reply")
        self.assert_alive()

    def test_a_task_that_blocks_the_loop_is_ended_by_an_interrupt(self):
        self.run_ok(
            """
            import asyncio
            async def hog():
                await asyncio.sleep(0.01)
                print('hogging', flush=True)
                while True: pass
            task = asyncio.ensure_future(hog()); await asyncio.sleep(0)
            """
        )
        self.box.pump_until(lambda: b"hogging" in self.kernel.stdout.everything, "the hog")
        run = self.kernel.start("'later'")
        self.kernel.interrupt(run)
        self.assertEqual(run.wait().status, "interrupted")
        self.assert_alive()

    def test_a_signal_between_cells_spares_the_loop(self):
        self.run_ok("import asyncio; task = asyncio.ensure_future(asyncio.sleep(0.2, 'whole')); await asyncio.sleep(0)")
        for _ in range(5):
            self.kernel.signal(2)
        self.assertEqual(self.kernel.value("await task"), "'whole'")

    def test_a_loop_that_session_code_destroys(self):
        self.run_ok("import asyncio; await asyncio.sleep(0)")
        self.run_ok("import os; loop = asyncio.get_event_loop(); os.close(loop._selector.fileno())")
        self.assert_alive()
        self.assertEqual(self.kernel.value("await asyncio.sleep(0, 'new loop')"), "'new loop'")
        self.run_ok("asyncio.get_event_loop().close()")
        self.assert_alive()

    def test_a_task_that_stops_the_loop(self):
        self.run_ok("import asyncio; loop = asyncio.get_running_loop(); await asyncio.sleep(0)\nloop.call_later(0.01, loop.stop)")
        self.assert_alive()
        self.assertEqual(self.kernel.value("import time; time.sleep(0.03); await asyncio.sleep(0, 'on')"), "'on'")

    def test_what_a_task_raised_unawaited_surfaces(self):
        self.run_ok(
            """
            import asyncio, gc
            async def fail(): raise ValueError('unawaited')
            asyncio.ensure_future(fail()); await asyncio.sleep(0.01)
            gc.collect()
            """
        )
        self.box.pump_until(lambda: b"unawaited" in self.kernel.stderr.everything, "the exception")

    def test_asyncio_run_in_a_plain_cell(self):
        self.run_ok("import asyncio\nasync def f(): return 'ran'")
        self.run_ok("await asyncio.sleep(0)")
        self.assertEqual(self.kernel.value("asyncio.run(f())"), "'ran'")
        self.assertEqual(self.kernel.value("await f()"), "'ran'")


class ForkedTest(KernelTest):
    def test_a_fork_of_a_kernel_with_earlier_streams(self):
        self.run_ok("import threading, os; go = threading.Event(); t = threading.Thread(target=go.wait); t.start()")
        run = self.kernel.run(
            "pid = os.fork()\nif pid == 0:\n    print('child', flush=True); os._exit(0)\nos.waitpid(pid, 0); print('parent')",
            fresh_streams=True,
        )
        self.assertEqual(run.stdout, "child\nparent\n")
        self.run_ok("go.set(); t.join()")


if __name__ == "__main__":
    unittest.main()
