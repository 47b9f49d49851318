"""Open files of session code in copies: their positions are each copy's own. Databases and files that stay shared."""

from __future__ import annotations

import os
import unittest

from test_branches import BranchTest

READS = """
    open('lines.txt', 'w').write(''.join(f'line {n}\\n' for n in range(5000)))
    text = open('lines.txt'); text.readline()
    data = open('lines.txt', 'rb', buffering=0); data.seek(14)
"""
WHERE = "text.readline(), data.read(6)"


class PositionsTest(BranchTest):
    def test_a_fork_and_its_parent_read_on_by_themselves(self):
        self.run_ok(READS)
        copy = self.branch()
        expected = "('line 1\\n', b'line 2')"
        self.assertEqual(copy.value(WHERE), expected)
        copy.run("text.seek(0, 2); data.seek(0, 2)")
        self.assertEqual(self.kernel.value(WHERE), expected)
        self.assertEqual(self.kernel.value("len(text.read()), text.read()"), "(48876, '')")
        self.assertEqual(copy.value("text.tell(), data.tell()"), "(48890, 48890)")

    def test_what_goes_on_from_a_snapshot_reads_on_where_that_was_made(self):
        self.run_ok(READS)
        first, second = self.kernel.branches("snapshot", "snapshot")
        self.run_ok("text.seek(0, 2); data.seek(0, 2); text.close(); data.close()")
        expected = "('line 1\\n', b'line 2')"
        for _ in range(2):
            self.assertEqual(first.branch("successor").value(WHERE), expected)
        for copy, kernel in ((None, first), ("1", second)):
            kernel.resume(copy)
            self.assertEqual(kernel.value(WHERE), expected)
            kernel.run("data.seek(21)")
            self.assertEqual(kernel.branch("snapshot").branch("successor").value("data.read(6)"), "b'line 3'")

    def test_writers_keep_their_places(self):
        self.run_ok(
            """
            out = open('out.txt', 'wb', buffering=0); out.write(b'aaaa')
            log = open('log.txt', 'ab', buffering=0); log.write(b'1')
            both = open('both.txt', 'w+b', buffering=0); both.write(b'xyz'); both.seek(1)
            """
        )
        snapshot = self.branch("snapshot")
        self.run_ok("out.write(b'bbbb'); log.write(b'2'); both.read()")
        copy = snapshot.branch("successor")
        copy.run("out.write(b'c'); log.write(b'3')")
        self.assertEqual(copy.value("both.read(), out.tell()"), "(b'yz', 5)")
        self.assertEqual(self.kernel.value("open('out.txt').read(), open('log.txt').read(), out.tell()"), "('aaaacbbb', '123', 8)")

    def test_files_that_have_no_name_any_more(self):
        self.run_ok(
            """
            import os, tempfile
            gone = open('gone.txt', 'w+b', buffering=0); gone.write(b'gone'); gone.seek(1); os.unlink('gone.txt')
            temporary = tempfile.TemporaryFile(buffering=0); temporary.write(b'kept'); temporary.seek(2)
            """
        )
        copy = self.branch()
        self.assertEqual(copy.value("gone.read(), temporary.read()"), "(b'one', b'pt')")
        self.assertEqual(self.kernel.value("gone.read(), temporary.read()"), "(b'one', b'pt')")

    def test_descriptors_keep_what_they_share_and_whether_programs_inherit_them(self):
        self.run_ok(
            """
            import os
            open('few.txt', 'w').write('abcdef')
            one = os.open('few.txt', os.O_RDONLY); other = os.dup(one); apart = os.open('few.txt', os.O_RDONLY)
            writer = os.open('few.txt', os.O_WRONLY); again = os.dup(writer)
            os.set_inheritable(one, True); fds = sorted(os.listdir('/proc/self/fd'))
            """
        )
        copy = self.branch()
        for kernel in (copy, self.kernel):
            self.assertEqual(kernel.value("os.read(one, 2), os.read(other, 2), os.read(apart, 2)"), "(b'ab', b'cd', b'ab')")
            self.assertEqual(kernel.value("os.lseek(writer, 3, 0), os.lseek(again, 0, 1)"), "(3, 3)")
            self.assertEqual(kernel.value("[os.get_inheritable(n) for n in (one, other, apart)]"), "[True, False, False]")
        self.assertEqual(self.kernel.value("sorted(os.listdir('/proc/self/fd')) == fds"), "True")

    def test_a_capture_leaves_the_positions_alone(self):
        self.run_ok(READS)
        copy = self.branch("capture")
        copy.wait_exit()
        self.assertEqual(self.kernel.value(WHERE), "('line 1\\n', b'line 2')")


class SharedTest(BranchTest):
    @unittest.skipUnless(os.geteuid() == 0, "needs to become somebody else")
    def test_files_that_may_not_be_opened_a_second_time(self):
        self.run_ok(
            """
            import os
            open('mine.txt', 'w').write('abcdef'); os.chmod('mine.txt', 0o600)
            class Holder: pass
            holder = Holder(); holder.file = open('mine.txt'); plain = os.open('mine.txt', os.O_RDONLY); fine = open('/etc/passwd')
            os.seteuid(65534)
            """
        )
        self.assertEqual(self.unsafe("refuse"), [("file", "holder"), ("file", None)])
        self.assertIn("the open file", self.kernel.branched["unsafe"][0]["what"])
        self.assertIn("mine.txt (`holder`)", self.kernel.branched["error"]["message"])

    def test_connections_to_databases_in_files(self):
        self.run_ok(
            """
            import sqlite3
            class Store:
                def __init__(self): self.connection = sqlite3.connect('data.db')
            store = Store(); store.connection.execute('create table t (x)')
            closed = sqlite3.connect('data.db'); closed.close()
            """
        )
        self.assertEqual(self.unsafe("refuse"), [("database", "store")])
        self.assertRegex(self.kernel.branched["error"]["message"], "a connection to the database .*data.db.*`store`")
        self.run_ok("store.connection.commit(); store.connection.execute('pragma journal_mode=wal'); store.connection.execute('insert into t values (1)')")
        self.assertEqual(self.unsafe("refuse"), [("database", "store")])
        self.assertEqual(self.kernel.branched["unsafe"][0]["what"].count("data.db"), 1)
        self.run_ok("store.connection.commit(); store.connection.close()")
        self.assertEqual(self.unsafe("refuse"), [])

    def test_a_connection_that_no_variable_holds(self):
        self.run_ok("import sqlite3\ndef hold(c=sqlite3.connect('held.db')): return c\nhold().execute('create table t (x)'); hold().commit()")
        self.assertEqual(self.unsafe("warn"), [("database", None)])

    def test_databases_in_memory_and_other_files_are_safe(self):
        self.run_ok("import sqlite3; c = sqlite3.connect(':memory:'); c.execute('create table t (x)'); f = open('f', 'w'); g = open('g', 'w+'); g.write('text'); g.flush()")
        self.assertEqual(self.unsafe("refuse"), [])


if __name__ == "__main__":
    unittest.main()
