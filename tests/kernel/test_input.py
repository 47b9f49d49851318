"""Questions of session code, and their answers."""

from __future__ import annotations

import unittest

from harness import KernelTest


class InputTest(KernelTest):
    def ask(self, code: str) -> tuple:
        """Starts code; gives its run and its first question."""
        run = self.kernel.start(code)
        self.box.pump_until(lambda: run.of("input"), "the question")
        return run, run.of("input")[0]

    def test_an_answer(self):
        run, question = self.ask("name = input('name? ')\nprint('hello', name)")
        self.assertEqual((question["prompt"], question["password"]), ("name? ", False))
        self.kernel.reply(question["request"], "Ada")
        self.assertEqual(run.wait().stdout, "name? hello Ada\n")
        self.assertEqual(self.kernel.value("name"), "'Ada'")

    def test_the_prompt_comes_after_what_was_printed_before(self):
        run, question = self.ask("print('before', end=''); input(' now: ')")
        self.assertEqual(run.stdout, "before now: ")
        self.kernel.reply(question["request"], "")
        self.assertEqual(run.wait().text, "''")

    def test_the_end_of_input(self):
        run, question = self.ask("input()")
        self.kernel.reply(question["request"], None)
        self.assertEqual(run.wait().error["type"], "EOFError")
        self.assertEqual(run.error["message"], "EOF when reading a line")

    def test_nobody_answers(self):
        run, question = self.ask("input()")
        self.kernel.reply(question["request"], None, "nobody answered in 10 s")
        self.assertEqual(run.wait().error["message"], "nobody answered in 10 s")
        self.assertEqual((run.error["type"], run.error["line"]), ("EOFError", 1))
        self.assertNotIn("execute_code_kernel", run.error["traceback"])

    def test_an_answer_to_nobody_swallows_nothing(self):
        run, question = self.ask("try: input()\nexcept KeyboardInterrupt: pass\n'went on'")
        self.kernel.interrupt()
        self.assertEqual(run.wait().text, "'went on'")
        self.assertEqual([f["request"] for f in self.kernel.frames if f["type"] == "withdrawn"], [question["request"]])
        self.kernel.reply(question["request"], "late")
        self.assert_alive()

    def test_several_questions_in_threads(self):
        run = self.kernel.start(
            "import threading\nheard = []\n"
            "threads = [threading.Thread(target=lambda n=n: heard.append((n, input(n)))) for n in 'ab']\n"
            "for t in threads: t.start()\nfor t in threads: t.join()\nsorted(heard)"
        )
        self.box.pump_until(lambda: len(run.of("input")) == 2, "two questions")
        for question in reversed(run.of("input")):
            self.kernel.reply(question["request"], question["prompt"].upper())
        self.assertEqual(run.wait().text, "[('a', 'A'), ('b', 'B')]")

    def test_an_interrupt_ends_the_wait(self):
        run, _ = self.ask("input('for ever')")
        self.kernel.interrupt()
        self.assertEqual(run.wait().status, "interrupted")
        self.assert_alive()

    def test_a_secret(self):
        run, question = self.ask("import getpass\nlen(getpass.getpass('key: '))")
        self.assertEqual((question["prompt"], question["password"]), ("key: ", True))
        self.kernel.reply(question["request"], "s3cret")
        self.assertEqual(run.wait().text, "6")

    def test_a_forked_process_cannot_ask(self):
        run = self.run_ok(
            "import os\npid = os.fork()\nif pid == 0:\n    try: input()\n    except EOFError: os._exit(7)\n"
            "os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])"
        )
        self.assertEqual(run.text, "7")

    def test_odd_prompts_and_answers(self):
        run, question = self.ask("input(12)")
        self.assertEqual(question["prompt"], "12")
        self.kernel.reply(question["request"], 'a "quote" \u20ac \U0001f600')
        self.assertEqual(run.wait().text, "'a \"quote\" \u20ac \U0001f600'")
        run, question = self.ask("len(input('x' * 100_000))")
        self.assertEqual(len(question["prompt"]), 4000)
        self.kernel.reply(question["request"], "yes")
        self.assertEqual(run.wait().text, "3")

    def test_the_debugger_asks(self):
        run, question = self.ask("def f(x):\n    import pdb; pdb.set_trace()\n    return x\nf(5)")
        self.kernel.reply(question["request"], "p x + 1")
        self.box.pump_until(lambda: len(run.of("input")) == 2, "the next question")
        self.kernel.reply(run.of("input")[1]["request"], "continue")
        self.assertEqual(run.wait().text, "5")
        self.assertIn("6\n", run.stdout)


class EnvironmentTest(KernelTest):
    def test_values_hold_for_one_execution(self):
        value = "it's \"quoted\"\nover lines $HOME `x` \u20ac"
        run = self.kernel.run("import os, subprocess; os.environ['A'], subprocess.run('printf %s \"$A\"', shell=True, capture_output=True, text=True).stdout", env={"A": value})
        self.assertEqual(run.text, repr((value, value)))
        self.assertEqual(self.kernel.value("os.environ.get('A'), os.getenv('A')"), "(None, None)")

    def test_earlier_values_come_back(self):
        self.run_ok("import os; os.environ['B'] = 'mine'")
        self.assertEqual(self.kernel.run("os.environ['B']", env={"B": "theirs"}).text, "'theirs'")
        self.assertEqual(self.kernel.value("os.environ['B']"), "'mine'")
        self.kernel.run("1/0", env={"B": "theirs"})
        self.assertEqual(self.kernel.value("os.environ['B']"), "'mine'")

    def test_what_the_cell_sets_itself_stays(self):
        self.kernel.run("import os; os.environ['C'] = 'set'", env={"D": "1"})
        self.assertEqual(self.kernel.value("os.environ['C']"), "'set'")


if __name__ == "__main__":
    unittest.main()
