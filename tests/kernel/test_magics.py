"""Magics of IPython: they work, or say what to write instead; cells that are Python never meet them."""

from __future__ import annotations

import importlib.util
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest
import zipfile

from harness import PACKAGE, KernelTest, alive, descendants, wait_until

needs_pip = unittest.skipUnless(importlib.util.find_spec("pip"), "this interpreter has no pip")


class TranslationTest(KernelTest):
    """Which lines are magics, and what becomes of a cell that has some."""

    def test_a_magic_between_statements(self):
        run = self.run_ok("x = 1\n%matplotlib inline\ny = x + 1\ny")
        self.assertEqual((run.text, run.stdout, run.stderr, run.names("added")), ("2", "", "", ["x", "y"]))

    def test_the_module_is_loaded_for_magics_only(self):
        loaded = "import sys; 'execute_code_kernel.magics' in sys.modules"
        self.assertEqual(self.kernel.value(loaded), "False")
        self.kernel.run("x = 7\ny = (x\n%4)\ns = '''\n%time\n!ls\n'''\ny")
        self.assertEqual(self.kernel.value(loaded), "False")
        self.run_ok("%matplotlib inline")
        self.assertEqual(self.kernel.value(loaded), "True")

    def test_python_that_looks_like_magics(self):
        run = self.run_ok(
            """
            y = 5
            b = 3
            a = (7
            %b)
            c = 7 \\
            %b
            s = '''
            %time
            !false
            what?
            '''
            t = f"{a!r} {b:>3}" # and what?
            u = "x = !ls"
            %matplotlib inline
            """
        )
        self.assertEqual(run.stdout, "")
        self.assertEqual(self.kernel.value("a, c, s.split(), t, u"), "(1, 1, ['%time', '!false', 'what?'], '1   3', 'x = !ls')")

    def test_in_bodies(self):
        run = self.run_ok(
            """
            for i in range(2):
                !echo in {i}
                if i:
                    %time j = i * 10
                else:
                    pass
            def f(name):
                lines = !echo {name}; echo $name
                !echo $name again
                return lines
            class C:
                here = %pwd
            try:
                %nothing
            except Exception as e:
                caught = str(e)
            f('local')
            """
        )
        self.assertEqual(run.text, "['local', 'local']")
        self.assertEqual(run.stdout.splitlines()[0], "in 0")
        self.assertEqual(run.stdout.count("Wall time"), 1)
        self.assertIn("local again", run.stdout)
        self.assertEqual(self.kernel.value("j, C.here == __import__('os').getcwd(), 'nothing' in caught"), "(10, True, True)")

    def test_on_one_line_with_python(self):
        run = self.run_ok("x = 2\nif x: !echo yes {x}\nx = 3; !echo then {x}\nfor i in range(2): %time i")
        self.assertEqual(run.stdout.splitlines()[:2], ["yes 2", "then 3"])
        self.assertEqual(run.stdout.count("Wall time"), 2)

    def test_assignments(self):
        self.run_ok("x = !printf 'a\\nb'\na, (b) = !printf '1\\n2'\nd = {}\nd['k'] = !echo v\ny: list = !echo z\np = q = %pwd")
        self.assertEqual(self.kernel.value("x, a, b, d, y, p == q"), "(['a', 'b'], '1', '2', {'k': ['v']}, ['z'], True)")

    def test_continued_lines(self):
        run = self.run_ok("!echo one \\\n    two \\\n  three\nx = \\\n    !echo four \\\n five\nx, __import__('sys')._getframe().f_lineno")
        self.assertEqual((run.stdout, run.text), ("one two three\n", "(['four five'], 7)"))

    def test_quotes_and_brackets(self):
        run = self.run_ok(
            """
            x = 'X'
            !echo "it's" ')' '}' "'''" '('
            !echo '{"a": 1}' "{x}" '{"b": {"c": 2}}'
            !echo 012 é€ “quoted” 合计
            y = 1
            """
        )
        self.assertEqual(run.stdout.splitlines(), ["it's ) } ''' (", '{"a": 1} X {"b": {"c": 2}}', "012 é€ “quoted” 合计"])
        self.assertEqual(self.kernel.value("y"), "1")

    def test_after_nested_format_strings(self):
        if sys.version_info < (3, 12):
            self.skipTest("f-strings nest from 3.12 on")
        run = self.run_ok("d = {'(': 1}\nx = f\"{d[\"(\"]!r:>{\"3\"}} {{ {f'{'''}'''}'}\"\n!echo {x}\nx")
        self.assertEqual((run.stdout, run.text), ("1 { }\n", "'  1 { }'"))

    def test_line_ends(self):
        run = self.run_ok("x = 1\r\n!echo {x}\r\n%time x\r\ny = 2\r\nx + y")
        self.assertEqual((run.stdout.splitlines()[0], run.text), ("1", "3"))

    def test_two_hundred(self):
        run = self.run_ok("!true\n" * 200 + "for i in range(2):\n" + "    %cd -q .\n" * 200 + "'done'")
        self.assertEqual((run.stdout, run.text), ("", "'done'"))

    def test_with_await(self):
        run = self.run_ok("import asyncio\n!echo before\nx = await asyncio.sleep(0, 'slept')\n%time await asyncio.sleep(0, x)")
        self.assertEqual((run.stdout.splitlines()[0], run.text), ("before", "'slept'"))
        self.run_ok("async def f():\n    y = %time await asyncio.sleep(0, 5)\n    return y\nz = await f()")
        self.assertEqual(self.kernel.value("z"), "5")

    def test_future_imports(self):
        self.run_ok("%matplotlib inline\n!true\nfrom __future__ import annotations\ndef f(x: Unknown): pass")
        self.run_ok("%%time\nfrom __future__ import annotations\ndef g(x: Unknown): pass")
        self.assertEqual(self.kernel.value("f.__annotations__, g.__annotations__"), "({'x': 'Unknown'}, {'x': 'Unknown'})")

    def test_the_helper_is_nowhere(self):
        before = self.kernel.value("sorted(dir()), sorted(dir(__builtins__))")
        run = self.run_ok("%matplotlib inline\n%time 1\n%timeit -n1 -r1 2\n%cd -q .")
        self.assertEqual(run.names("added"), [])
        self.assertEqual(self.kernel.value("sorted(dir()), sorted(dir(__builtins__))"), before)
        self.assertEqual(self.kernel.inspect()["variables"], [])

    def test_without_builtins(self):
        self.run_ok("def f():\n    !echo kept\nimport builtins as b")
        names = "len isinstance open repr getattr type str list map print eval compile hasattr min max sorted zip any tuple"
        self.run_ok(f"for name in '{names} __import__'.split(): delattr(b, name)\ndel name")
        run = self.run_ok("f()\nx = 5\n!echo {x}\ny = !echo z\n%time y")
        self.assertEqual((run.stdout.splitlines()[:2], run.text), (["kept", "5"], "['z']"))

    def test_first_magic_without_builtins(self):
        names = "len isinstance open repr getattr type str list print hasattr tuple super"
        self.run_ok(f"import builtins as b\nfor name in '{names}'.split(): delattr(b, name)")
        self.assertEqual(self.run_ok("!echo alive").stdout, "alive\n")
        self.assertEqual(self.kernel.run("len([1])").error["type"], "NameError")

    def test_features_are_stable(self):
        code = "import math\nx = %pwd\n%timeit -n1 -r1 import json\n!echo {x}"
        first, again = self.run_ok(code), self.run_ok("import math\n\nx   =   %pwd  \n%timeit -n1 -r1 import  json\n!echo {x}  ")
        self.assertIsNotNone(first.done["ast_hash"])
        self.assertEqual(first.done["ast_hash"], again.done["ast_hash"])
        self.assertEqual(first.done["imports"], ["json", "math"])
        self.assertNotEqual(first.done["ast_hash"], self.run_ok(code + "!").done["ast_hash"])

    @needs_pip
    def test_bare_pip(self):
        run = self.run_ok("pip list --format=json\nx = 1")
        self.assertEqual((run.stdout[:1], run.names("added")), ("[", ["x"]))
        self.run_error("pip here", "SyntaxError")


class ParsedAgainTest(KernelTest):
    """Cells with magics whose text is looked at later."""

    def test_sources_of_functions(self):
        self.run_ok("%matplotlib inline\ndef f(a: int, b=2):\n    !true\n    return a")
        self.run_ok("%%time\nclass C:\n    def m(self): return 1\nx = 'unrelated'\n!echo it's")
        detail = self.kernel.inspect("f")["detail"]
        self.assertEqual((detail["source"], detail["signature"]), ("def f(a: int, b=2):\n    !true\n    return a\n", "(a: int, b=2)"))
        self.assertEqual(self.kernel.inspect("C")["detail"]["source"], "class C:\n    def m(self): return 1\n")

    def test_spawned_processes(self):
        self.run_ok("%matplotlib inline\nimport multiprocessing\n!echo it's\nFACTOR = 3\n%timeit -n1 -r1 pass\ndef fails():\n    !ls")
        self.run_ok("%%time\ndef work(n): return n * FACTOR")
        run = self.kernel.run("with multiprocessing.get_context('spawn').Pool(1) as pool: found = pool.map(work, [5])\nfound", 30)
        self.assertEqual((run.text, run.stdout), ("[15]", ""), (run.error, run.stderr))


class SyntaxErrorTest(KernelTest):
    """What is no Python with magics either: the error is about the session's own text."""

    def refused(self, code: str, line: int, column: int, text: str):
        run = self.kernel.run(code)
        self.assertEqual(run.status, "error")
        self.assertIn(run.error["type"], ("SyntaxError", "IndentationError"))
        self.assertEqual((run.error["line"], run.error["column"]), (line, column), run.error["traceback"])
        self.assertIn(text, run.error["traceback"])
        self.assertNotIn("execute_code_kernel", run.error["traceback"])
        self.assertNotIn("During handling", run.error["traceback"])
        self.assertEqual(run.stdout, "")
        return run

    def test_below_a_magic(self):
        self.refused("%matplotlib inline\n!echo it's\nif True:\n    x = = 1", 4, 9, "    x = = 1")

    def test_above_a_magic(self):
        self.refused("é = 'é'; y = = 2\n!echo it's", 1, 14, "é = 'é'; y = = 2")

    def test_in_the_argument_of_a_magic(self):
        self.refused("for i in x:\n    %time y = = 2", 2, 15, "%time y = = 2")
        self.refused("a = 1\nz = %time é = = 2", 2, 15, "z = %time é = = 2")

    def test_below_a_cell_magic(self):
        self.refused("# about\n%%time\nx = 1\nx = = 1", 4, 5, "x = = 1")

    def test_a_magic_where_none_can_stand(self):
        self.refused("x = 1\nf(x,\n!ls\n)", 3, 1, "!ls")
        self.refused("f = lambda: !ls", 1, 13, "f = lambda: !ls")

    def test_an_indented_magic(self):
        run = self.kernel.run("x = 1\n    %pwd here")
        self.assertEqual((run.error["type"], run.error["line"]), ("IndentationError", 2))
        self.assertIn("%pwd here", run.error["traceback"])
        self.assertLessEqual(run.error["column"], 5)

    def test_prose(self):
        for code in ("Is this Python?", "x = 1\nWhat is x?", "50% of them", "% y", "x = 5\n% x"):
            self.assertEqual(self.kernel.run(code).error["type"], "SyntaxError", code)

    def test_no_error_mentions_a_translation(self):
        run = self.kernel.run("def f():\n    !ls\n  x = 1")
        self.assertEqual((run.error["type"], run.error["line"]), ("IndentationError", 3))
        run = self.kernel.run("x = 'abc\n%pwd")
        self.assertEqual((run.error["type"], run.error["line"]), ("SyntaxError", 1))
        run = self.kernel.run("%pwd\nprint((1)\n%cd x\ny = 2")
        self.assertEqual(run.error["type"], "SyntaxError")
        self.assertIn(run.error["line"], (2, 3))


class ErrorTest(KernelTest):
    """Magics that cannot work say at their line what to write instead."""

    def unusable(self, code: str, *parts: str, line: int = 1):
        run = self.run_error(code, "UsageError")
        self.assertEqual(run.error["line"], line)
        for part in parts:
            self.assertIn(part, run.error["message"])
        self.assertNotIn("execute_code_kernel", run.error["traceback"])
        self.assertEqual(run.error["frames"][-1]["source"], run.id)
        return run

    def test_unknown_ones(self):
        self.unusable("x = 1\n%foo bar", "`%foo` is a magic of IPython that sessions do not have", line=2)
        self.assertEqual(self.kernel.value("x"), "1")
        self.unusable("%%foo\nanything at all?", "`%%foo` is a magic of IPython that sessions do not have")

    def test_replacements(self):
        for code, part in (
            ("%reset -f", "execute-code session reset NAME"),
            ("%history -n 1-5", "ec.history()"),
            ("%store x", "pickle.dump"),
            ("%debug", "sys.last_value"),
            ("%prun f(1, '{')", 'cProfile.run("f(1, \'{\')"'),
            ("%prun -s cumulative -q f()", "cProfile.run('f()'"),
            ("%%prun\nf()\ng()", "cProfile.run('f()\\ng()'"),
            ("%%debug\nf()", "sys.last_value"),
            ("%edit x.py", "%%writefile"),
            ("%load x.py", "%run x.py"),
            ("%lsmagic", "%%writefile"),
            ("%magic", "%timeit"),
            ("%save a 1", "ec.history()"),
            ("%conda install -y -c conda-forge numpy", "`%pip install numpy`"),
            ("%sql select 1", "sqlite3"),
            ("%html <b>", "%%html"),
            ("%%cd /tmp\n", "%cd /tmp"),
            ("if 1:\n    %%time", "start of a line"),
        ):
            run = self.kernel.run(code)
            self.assertEqual((run.status, run.error["type"]), ("error", "UsageError"), code)
            self.assertIn(part, run.error["message"])

    def test_setup_of_ipython(self):
        run = self.run_ok("%load_ext autoreload\n%autoreload 2\n%config InlineBackend.figure_format = 'retina'\n%xmode Verbose\n1")
        self.assertEqual((run.text, run.stdout, len(run.stderr.splitlines())), ("1", "", 4))
        self.assertIn("importlib.reload(module)", run.stderr.splitlines()[0])
        self.assertIn("%config has no effect here", run.stderr)

    def test_the_replacement_of_prun_works(self):
        run = self.run_ok("def f(): return 1\nimport cProfile; cProfile.run('f()', sort='tottime')")
        self.assertIn("function calls", run.stdout)


class ShellTest(KernelTest):
    """`!command`"""

    def test_output_comes_in_order_and_as_it_is_written(self):
        run = self.kernel.start("print('first', end=' ')\n!echo second; read line < /dev/tty; sleep 600").wait_output("first second\n")
        self.kernel.interrupt()
        self.assertEqual(run.wait().status, "interrupted")
        run = self.run_ok("print('a')\n!echo b; echo c >&2\nprint('d')")
        self.assertEqual((run.stdout, run.stderr), ("a\nb\nd\n", "c\n"))

    def test_exit_codes(self):
        self.run_ok("!exit 3\na = _exit_code\nx = !exit 4\nb = _exit_code\n!kill -9 $$\nc = _exit_code\n!true")
        self.assertEqual(self.kernel.value("a, b, c, _exit_code, x"), "(3, 4, -9, 0, [])")

    def test_variables(self):
        run = self.run_ok(
            """
            import types
            x, n, o = 'X Y', 3, types.SimpleNamespace(name='N')
            files = ['a', 'b']
            !echo {x} $x {n + 1} {' '.join(files)} {files[0:1]} {o.name!r} {n:05.1f} $o.name $o.name.txt
            !echo $HOME ${x} $$n {{x}} '$x' "$x" {nothing} $nothing.
            !echo {1,2} a{2} | tr ' ' ,
            !printf 'p q\\n' | awk '{print $2}'
            !echo '{print}' '{next}' $((1 + 1)) $(echo sub)
            """
        )
        lines = run.stdout.splitlines()
        self.assertEqual(lines[0], "X Y X Y 4 a b [a] N 003.0 N N.txt")
        # What is no variable of the session's is the shell's.
        self.assertEqual(lines[1], f"{self.box.work} {{x}} $x X Y {{nothing}} .")
        self.assertEqual(lines[2:], ["1,2,a{2}", "q", "{print} {next} 2 sub"])

    def test_lines(self):
        self.assertEqual(self.run_ok("!!for i in 1 2 3 4; do echo $i; echo $i >&2; done").text, str(list("11223344")))
        run = self.run_ok("x = !printf 'b 1\\na 2\\n\\nlast'; echo err >&2\nx")
        self.assertEqual((run.text, run.stderr), ("['b 1', 'a 2', '', 'lasterr']", ""))
        self.assertEqual(self.kernel.value("x.n, x.s, isinstance(x, list)"), "('b 1\\na 2\\n\\nlasterr', 'b 1 a 2  lasterr', True)")
        self.assertEqual(self.kernel.value("import pickle; y = pickle.loads(pickle.dumps(x)); type(y).__name__, y == x"), "('list', True)")
        self.assertEqual(self.run_ok("!!echo shown").text, "['shown']")
        self.assertEqual(self.kernel.value("here = !echo /tmp; echo /no/such\nhere.p"), f"[{type(PACKAGE).__name__}('/tmp')]")

    def test_redirected_output(self):
        run = self.run_ok(
            """
            import contextlib, io
            with contextlib.redirect_stdout(io.StringIO()) as out:
                !echo é caught; echo seen >&2
            """
        )
        self.assertEqual((run.stdout, run.stderr, self.kernel.value("out.getvalue()")), ("", "seen\n", "'é caught\\n'"))

    def test_interrupt(self):
        run = self.kernel.start("!echo on; sleep 600 & sleep 600; echo never\nprint('never')").wait_output("on")
        below = wait_until(lambda: len(descendants(self.kernel.pid)) >= 3 and descendants(self.kernel.pid), "the command")
        self.kernel.interrupt(target="kernel")
        run.wait()
        self.assertEqual((run.status, run.error["type"], run.error["line"]), ("interrupted", "KeyboardInterrupt", 1))
        self.assertNotIn("execute_code_kernel", run.error["traceback"])
        self.assertEqual(run.stdout, "on\n")
        wait_until(lambda: not any(map(alive, below)), "the end of the command")
        self.assert_alive()

    def test_interrupt_while_its_output_is_taken(self):
        run = self.kernel.start("print('on', flush=True)\nx = !trap '' INT; sleep 600")
        run.wait_output("on")
        below = wait_until(lambda: descendants(self.kernel.pid), "the command")
        self.kernel.interrupt(target="kernel")
        self.assertEqual(run.wait().status, "interrupted")
        wait_until(lambda: not any(map(alive, below)), "the end of the command")
        self.assert_alive()

    def test_interrupt_with_await(self):
        run = self.kernel.start("import asyncio\nawait asyncio.sleep(0)\n!echo on; sleep 600").wait_output("on")
        self.kernel.interrupt()
        self.assertEqual((run.wait().status, run.error["line"]), ("interrupted", 3))
        self.assert_alive()

    def test_background_processes_are_not_waited_for(self):
        run = self.run_ok("!sleep 600 &\nx = !echo now; sleep 600 &\nx")
        self.assertEqual(run.text, "['now']")
        run = self.run_ok("x = !while sleep 0.01; do echo more; done & echo first\nx[0]")
        self.assertEqual(run.text, "'first'")

    def test_much_output(self):
        self.run_ok("x = !seq 300000\n!seq 300000 | tail -1")
        self.assertEqual(self.kernel.value("len(x), x[-1]"), "(300000, '300000')")

    def test_hints_about_what_does_not_last(self):
        run = self.run_ok("!cd /\n!cd / && pwd\n!export A=1")
        self.assertEqual(run.stdout, "/\n")
        self.assertEqual(len(run.stderr.splitlines()), 2)
        self.assertIn("`%cd DIR` or os.chdir(DIR)", run.stderr)

    @needs_pip
    def test_pip_is_the_sessions_own(self):
        self.run_ok("x = !pip --version\ny = !python3 -m pip --version")
        version = "%d.%d" % sys.version_info[:2]
        self.assertEqual(self.kernel.value(f"'python {version}' in x.s, x == y"), "(True, True)")
        run = self.run_ok("%pip --version")
        self.assertIn(f"python {version}", run.stdout)

    def test_pip_that_is_missing(self):
        run = self.run_ok(
            """
            import importlib.util
            find = importlib.util.find_spec
            importlib.util.find_spec = lambda name, *a: None if name == 'pip' else find(name, *a)
            try:
                %pip no-such-command
            except Exception as e:
                said = str(e)
            said
            """
        )
        self.assertIn("-m ensurepip", run.text)
        self.assertIn("no-such-command", run.stderr)

    @needs_pip
    def test_what_is_installed_can_be_imported(self):
        wheel = self.box.work / "just_made-1.0-py3-none-any.whl"
        with zipfile.ZipFile(wheel, "w") as file:
            file.writestr("just_made.py", "value = 5\n")
            file.writestr("just_made-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: just-made\nVersion: 1.0\n")
            file.writestr("just_made-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            file.writestr("just_made-1.0.dist-info/RECORD", "just_made.py,,\n")
        run = self.run_ok(
            f"""
            import os, sys
            folder = os.path.abspath('packages')
            os.mkdir(folder); sys.path.insert(0, folder)
            try: import just_made
            except ImportError: wheel = {str(wheel)!r}
            %pip install --no-index --no-deps --disable-pip-version-check --target {{folder}} $wheel
            import just_made
            just_made.value
            """
        )
        self.assertEqual(run.text, "5")
        self.assertIn("just-made", run.stdout)


class LineMagicTest(KernelTest):
    def test_folders(self):
        run = self.run_ok("import os\nhome = os.getcwd()\n%cd /\n%cd -\n%cd -q /usr\nhere = %pwd\n%cd {home}\n%cd ~  # comment\n%pwd")
        work = str(self.box.work)
        self.assertEqual(run.stdout.splitlines(), ["/", work, work, work])
        self.assertEqual((run.text, self.kernel.value("here")), (repr(work), "'/usr'"))
        run = self.run_error("x = 1\n%cd /no/such/folder", "FileNotFoundError")
        self.assertEqual(run.error["line"], 2)
        self.assertNotIn("execute_code_kernel", run.error["traceback"])

    def test_environment(self):
        run = self.run_ok("v = 'w x'\n%env A=1\n%env B {v}\n%set_env C=$v\n%env A")
        self.assertEqual((run.stdout, run.text), ("env: A=1\nenv: B=w x\nenv: C=w x\n", "'1'"))
        self.assertEqual(self.kernel.value("e = %env\ne['B'], e['C'], __import__('os').environ['A']"), "('w x', 'w x', '1')")
        self.run_error("%env NO_SUCH_NAME", "UsageError")
        self.assertEqual(self.run_ok("!echo $A-$B").stdout, "1-w x\n")

    def test_shell_aliases(self):
        run = self.run_ok("name = 'made here'\n%mkdir '{name}'\n%ls -d made*\n!echo text > t.txt\n%cat t.txt\n%cp t.txt u.txt\n%rm t.txt u.txt\n%rmdir 'made here'")
        self.assertEqual((run.stdout, run.stderr), ("made here\ntext\n", ""))

    def test_variables(self):
        self.run_ok("x = 1\nname = 'n'\nitems = [1, 2]\n_hidden = 2")
        run = self.run_ok("%who\n%who int\n%whos\n%who_ls")
        self.assertEqual(run.text, "['items', 'name', 'x']")
        self.assertEqual(run.stdout.splitlines()[:2], ["items\tname\tx", "x"])
        self.assertIn("items     list  [1, 2]", run.stdout)
        self.assertIn("There are no variables.", self.run_ok("globals().clear()\n%who").stdout)

    def test_time(self):
        run = self.run_ok("%time sum(range(10))")
        self.assertEqual(run.text, "45")
        self.assertRegex(run.stdout, r"^CPU times: user [\d.]+ \w+, sys: [\d.]+ \w+, total: [\d.]+ \w+\nWall time: [\d.]+ \w+\n$")
        run = self.run_ok("%time x = [1]; y = 2\nz = %time x + [y]\n%time z.append(4)\n%time import math\n%time x;")
        self.assertEqual((run.text, run.names("added"), self.kernel.value("x, y, z")), (None, ["x", "y", "z"], "([1], 2, [1, 2, 4])"))
        self.assertEqual(self.run_ok("%time x.append(5)").names("changed"), ["x"])
        self.assertEqual(self.run_ok("%time !echo timed").stdout.splitlines()[0], "timed")

    def test_time_in_functions_uses_their_variables(self):
        run = self.run_ok("def f(a):\n    %time b = a + 1\n    def g():\n        %time c = b * 2\n        return c\n    return g()\nf(1)")
        self.assertEqual((run.text, run.names("added")), ("4", ["f"]))

    def test_errors_of_timed_code_have_their_place(self):
        run = self.run_error("x = 0\nif True:\n    %time y = 1 / x", "ZeroDivisionError")
        self.assertEqual(run.error["line"], 3)
        self.assertIn("%time y = 1 / x", run.error["traceback"])
        self.assertNotIn("execute_code_kernel", run.error["traceback"])
        if sys.version_info >= (3, 11):
            self.assertEqual(run.error["column"], 15)

    def test_timeit(self):
        run = self.run_ok("n = 0\ndef f():\n    global n\n    n += 1\n%timeit -n 5 -r2 f()\nn")
        self.assertEqual(run.text, "10")
        self.assertRegex(run.stdout, r"per loop \(mean ± std\. dev\. of 2 runs, 5 loops each\)")
        run = self.run_ok("r = %timeit -q -o -n1 -r3 x = 1; x + 1\nr.loops, r.repeat, len(r.timings), 'x' in globals()")
        self.assertEqual((run.text, run.stdout), ("(1, 3, 3, False)", ""))
        self.assertRegex(self.run_ok("%timeit sum(range(1000))").stdout, r"s per loop \(mean ± std\. dev\. of 7 runs, [\d,]+ loops")
        self.run_ok("def g(a):\n    %timeit -n1 -r1 a.append(1)\n    return a\nlist_ = g([])")
        self.assertEqual(self.kernel.value("list_"), "[1]")
        self.assertEqual(self.run_error("%timeit -n1 -r1 1 / 0", "ZeroDivisionError").error["line"], 1)
        self.run_error("%%timeit", "UsageError")

    def test_run(self):
        (self.box.work / "program.py").write_text("import sys\nresult = (sys.argv, __name__, __file__)\ndef double(x): return 2 * x\nif sys.argv[1:] == ['fail']: 1/0\nsys.exit(int(sys.argv[1]) if sys.argv[1:] else 0)\n")
        run = self.run_ok("%run program.py 0\nresult, double(4), '__file__' in globals(), __import__('sys').argv")
        self.assertEqual(run.text, "((['program.py', '0'], '__main__', 'program.py'), 8, False, [''])")
        self.assertEqual(self.kernel.value("double.__globals__ is globals()"), "True")
        self.assertEqual(self.run_error("%run program.py 7", "SystemExit").error["message"], "7")
        run = self.run_error("x = 1\n%run program fail", "ZeroDivisionError")
        self.assertEqual([frame["line"] for frame in run.error["frames"]], [2, 4])
        self.run_error("%run missing.py", "FileNotFoundError")
        self.run_error("%run", "UsageError")
        self.run_ok("%run -m program")
        self.assertEqual(self.kernel.value("result[1]"), "'__main__'")

    def test_matplotlib(self):
        for arguments in ("", " inline", " notebook", " widget  # in Jupyter"):
            run = self.run_ok(f"%matplotlib{arguments}\n5")
            self.assertEqual((run.text, run.stdout, run.stderr), ("5", "", ""))
        self.run_ok("% matplotlib inline")


class HelpTest(KernelTest):
    def test_functions(self):
        self.run_ok('def f(a, b=2):\n    """Adds."""\n    return a + b')
        run = self.run_ok("f?")
        for part in ("f(a, b=2)", "function", "Adds."):
            self.assertIn(part, run.stdout)
        self.assertNotIn("return a + b", run.stdout)
        for code in ("f??", "??f", "%pinfo2 f", "%psource f"):
            self.assertIn("return a + b", self.run_ok(code).stdout, code)
        self.assertEqual(self.run_ok("?f").stdout, run.stdout)

    def test_values_and_members(self):
        self.run_ok("import os\nitems = [[1], {'k': 5}]")
        self.assertIn("Length:    2", self.run_ok("items?").stdout)
        self.assertIn("join(a, *p)", self.run_ok("x = 1\nos.path.join?\ny = 2").stdout)
        self.assertIn("dict", self.run_ok("items[1]?").stdout)
        self.assertEqual(self.run_ok("os.path.is*?").stdout.splitlines()[0], "os.path.isabs")
        self.assertEqual(self.kernel.value("x, y"), "(1, 2)")

    def test_in_a_body(self):
        self.assertEqual(self.run_ok("for i in range(2):\n    len?\n").stdout.count("Signature"), 2)

    def test_what_there_is_not(self):
        self.assertEqual(self.run_ok("nothing?").stdout, "Object `nothing` not found.\n")
        self.assertEqual(self.run_ok("len.nothing??").stdout, "Object `len.nothing` not found.\n")

    def test_magics(self):
        self.assertIn("works here", self.run_ok("%time?").stdout)
        self.assertIn("works here", self.run_ok("%%bash?").stdout)
        self.assertIn("execute-code session reset", self.run_ok("?%reset").stdout)

    def test_long_documentation_is_cut(self):
        self.run_ok("def f(): pass\nf.__doc__ = 'x' * 100_000")
        run = self.run_ok("f?")
        self.assertLess(len(run.stdout), 10_000)
        self.assertIn("left out", run.stdout)


class CellMagicTest(KernelTest):
    def test_time(self):
        run = self.run_ok("\n# Comment\n%%time\nx = 20\nprint('in')\nx + 1")
        self.assertEqual((run.text, run.names("added")), ("21", ["x"]))
        self.assertRegex(run.stdout, r"^in\nCPU times: .*\nWall time: .*\n$")
        self.assertIsNone(self.run_ok("%%time\nx + 1;").text)
        self.assertIsNone(self.run_ok("%%time\nfor i in range(3): pass").text)
        self.assertIn("Wall time", self.run_ok("%%time").stdout)
        self.assertEqual(self.run_ok("%%time x + 2").text, "22")

    def test_time_with_an_error(self):
        run = self.run_error("%%time\ndef f():\n    return 1 / 0\n\nf()", "ZeroDivisionError")
        self.assertEqual((run.error["line"], [frame["line"] for frame in run.error["frames"]]), (3, [5, 3]))
        self.assertIn("    return 1 / 0", run.error["traceback"])
        self.assertNotIn("execute_code_kernel", run.error["traceback"])
        self.assertIn("Wall time", run.stdout)

    def test_time_with_await_and_magics(self):
        run = self.run_ok("%%time\nimport asyncio\n!echo shell\nvalue = await asyncio.sleep(0, 6)\nvalue")
        self.assertEqual((run.text, run.stdout.splitlines()[0]), ("6", "shell"))

    def test_below_other_statements(self):
        run = self.run_ok("x = 1\n%%time\nx += 1\nx")
        self.assertEqual((run.text, run.stdout.count("Wall time")), ("2", 1))
        self.assertEqual(self.run_ok("y = 3\n%%bash\necho $((1 + 1))").stdout, "2\n")

    def test_timeit(self):
        run = self.run_ok("n = []\ndef f(x): n.append(x)\n%%timeit -n 2 -r 3 y = 5\nf(y)\nf(y)")
        self.assertEqual(self.kernel.value("len(n), 'y' in globals()"), "(12, False)")
        self.assertIn("3 runs, 2 loops each", run.stdout)

    def test_capture(self):
        run = self.run_ok("%%capture out\nimport sys\nprint('o')\nsys.stderr.write('e')\n!echo from a shell\ndisplay(5)\n'value'")
        self.assertEqual((run.text, run.stdout, run.stderr, run.of("display")), (None, "", "", []))
        self.assertEqual(run.names("added"), ["out"])
        self.assertEqual(self.kernel.value("out.stdout, out.stderr, len(out.outputs)"), "('o\\nfrom a shell\\n', 'e', 1)")
        run = self.run_ok("out.show()")
        self.assertEqual((run.stdout, run.stderr, run.of("display")[0]["mime"]), ("o\nfrom a shell\n", "e", {"text/plain": "5"}))
        self.run_ok("%%capture\nprint('gone')")
        self.assert_alive()
        run = self.run_ok("display('again')")
        self.assertEqual(len(run.of("display")), 1)

    def test_capture_of_figures(self):
        self.run_ok(
            """
            import sys, types
            class Figure:
                axes = [1]
                def get_size_inches(self): return (6.4, 4.8)
                def savefig(self, file, **_): file.write(b'\\x89PNG')
            pyplot = types.ModuleType('matplotlib.pyplot')
            open_ = [Figure()]
            pyplot.get_fignums = lambda: [1] if open_ else []
            pyplot.figure = lambda number: open_[0]
            pyplot.close = lambda figure: open_.clear()
            """
        )
        run = self.run_ok("%%capture out\nsys.modules['matplotlib.pyplot'] = pyplot")
        self.assertEqual((run.of("display"), self.kernel.value("len(out.outputs)")), ([], "1"))
        self.assertIn("image/png", self.run_ok("out()").of("display")[0]["mime"])

    def test_capture_with_options_and_errors(self):
        run = self.run_ok("%%capture --no-stderr out\nimport sys\nprint('o'); sys.stderr.write('e')")
        self.assertEqual((run.stdout, run.stderr), ("", "e"))
        run = self.run_error("%%capture out\nprint('before')\n1 / 0", "ZeroDivisionError")
        self.assertEqual((run.error["line"], self.kernel.value("out.stdout")), (3, "'before\\n'"))
        self.assert_alive()
        self.run_error("%%capture a b\n1", "UsageError")

    def test_capture_and_time(self):
        self.run_ok("%%capture out\n%%time\nprint('both')\n5")
        self.assertEqual(self.kernel.value("out.stdout.splitlines()[0], 'Wall time' in out.stdout"), "('both', True)")

    def test_scripts(self):
        run = self.run_ok("word = 'v'\n%%bash\nfor i in 1 2; do echo \"it's {word} $i\"; done\necho e >&2\ncat <<'END'\n%time\nEND")
        self.assertEqual((run.stdout, run.stderr), ("it's {word} 1\nit's {word} 2\n%time\n", "e\n"))
        self.assertEqual(self.run_ok("%%sh -s one\necho $1").stdout, "one\n")
        self.assertEqual(self.run_ok("%%script cat -n\nline").stdout.split(), ["1", "line"])
        run = self.run_ok("%%python3\nimport sys\nprint(sys.version_info[:2], 'word' in globals())")
        self.assertEqual(run.stdout, f"{sys.version_info[:2]} False\n")

    def test_scripts_that_fail(self):
        run = self.run_error("%%bash\necho on\nexit 3", "CalledProcessError")
        self.assertEqual((run.stdout, run.error["line"]), ("on\n", 1))
        self.assertIn("exit status 3", run.error["message"])
        self.assertNotIn("execute_code_kernel", run.error["traceback"])
        self.run_ok("%%bash --no-raise-error\nexit 3")
        self.assertEqual(self.kernel.value("_exit_code"), "3")
        self.assertIn("no-such-program", self.run_error("%%script no-such-program\n", "UsageError").error["message"])

    def test_scripts_into_variables(self):
        run = self.run_ok("%%bash --out o --err e\necho out\necho err >&2")
        self.assertEqual((run.stdout, run.stderr, run.names("added")), ("", "", ["e", "o"]))
        self.assertEqual(self.kernel.value("o, e"), "('out\\n', 'err\\n')")

    def test_interrupt_of_a_script(self):
        run = self.kernel.start("%%bash\necho on\nsleep 600").wait_output("on")
        self.kernel.interrupt()
        self.assertEqual(run.wait().status, "interrupted")
        self.assertFalse(descendants(self.kernel.pid))
        self.assert_alive()

    def test_writefile(self):
        run = self.run_ok("folder = '.'\n%%writefile {folder}/written.py\n# é %time\nx = '{folder}'\n\n!ls")
        self.assertEqual(run.stdout, "Writing ./written.py\n")
        path = self.box.work / "written.py"
        self.assertEqual(path.read_text(encoding="utf-8"), "# é %time\nx = '{folder}'\n\n!ls\n")
        self.assertEqual(self.run_ok("%%writefile -a written.py\nmore").stdout, "Appending to written.py\n")
        self.assertTrue(path.read_text().endswith("!ls\nmore\n"))
        self.assertEqual(self.run_ok("%%file 'written.py'\nless\n").stdout, "Overwriting written.py\n")
        self.assertEqual(path.read_text(), "less\n")
        self.assertEqual(self.run_error("%%writefile /no/such/folder/x\n", "FileNotFoundError").error["line"], 1)
        self.run_error("%%writefile\nx", "UsageError")

    def test_rich_content(self):
        for name, mime, text in (
            ("html", "text/html", "<b>bold</b> & {x}\n"),
            ("markdown", "text/markdown", "# Title\n*what?*\n"),
            ("latex", "text/latex", "$x^2$\n"),
            ("SVG", "image/svg+xml", "<svg xmlns='http://www.w3.org/2000/svg'></svg>\n"),
            ("javascript", "application/javascript", "alert(1)\n"),
        ):
            run = self.run_ok(f"%%{name}\n{text}")
            shown = run.of("display")[0]["mime"]
            self.assertEqual(shown[mime], text)
            self.assertIn("text/plain", shown)
            self.assertIsNone(run.text)

    def test_lines_of_a_script(self):
        self.assertEqual(self.run_ok("%%sx\necho a\necho b").text, "['a', 'b']")


class CostTest(unittest.TestCase):
    def test_its_modules_come_from_the_cache(self):
        code = (
            "import runpy, sys; main = runpy.run_path(sys.argv[1] + '/__main__.py'); main['_import_main'](sys.argv[2]);"
            "import execute_code_kernel.magics.helper as module; print(type(module.__loader__).__name__)"
        )
        with tempfile.TemporaryDirectory() as cache:
            output = subprocess.run([sys.executable, "-I", "-c", code, str(PACKAGE), cache], capture_output=True, text=True)
            self.assertEqual(output.stdout, "CachingLoader\n", output.stderr)
            compiled = [path.name.partition(".")[0] for path in pathlib.Path(cache).rglob("magics/*.pyc")]
            self.assertEqual(sorted(compiled), sorted([path.stem for path in PACKAGE.glob("magics/*.py")]))

    def test_the_kernel_starts_without_magics(self):
        code = "import sys; sys.path.insert(0, sys.argv[1]); import execute_code_kernel.supervisor; print('execute_code_kernel.magics' in sys.modules)"
        output = subprocess.run([sys.executable, "-c", code, str(PACKAGE.parent)], capture_output=True, text=True, env=dict(os.environ))
        self.assertEqual(output.stdout, "False\n")


if __name__ == "__main__":
    unittest.main()
