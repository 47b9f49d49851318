"""Installs packages into an environment: ``python3 -I installer.py BOX SPECIFICATION``.

Runs in a box of its own, beside the session's: the environment is writable here, and the package index can be reached;
there is nothing of the session's else, since what packages do while they are built is not to be trusted. BOX names the
box in lists of processes. SPECIFICATION is JSON:

    environment  its folder, made a virtual environment when it is none
    proxy        path of the daemon's network proxy, or null to use the network as it is
    commands     what to run then, in order, until one fails: lists of arguments
    variables    environment variables for the commands
    limits       what the system grants them, as in a `fork` command; or null

Ends with the status of the command that failed, else with 0.
"""

from __future__ import annotations

import json
import os
import site
import subprocess
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from execute_code_kernel import rlimits  # noqa: E402
from execute_code_kernel.processes import die_with_parent  # noqa: E402
from execute_code_kernel.relay import Relay  # noqa: E402

_INTERPRETER = "_interpreter.pth"
"""Brings the packages of the session's interpreter into the environment, when that is a virtual environment itself."""


def main(specification: dict) -> int:
    die_with_parent()
    environment = specification["environment"]
    if specification["limits"] is not None:
        rlimits.apply(specification["limits"])
    relay = None
    if specification["proxy"] is not None:
        relay = Relay(specification["proxy"])
        relay.fork(close=())
    try:
        commands = [_creation(environment), *specification["commands"]]
        for command in commands:
            status = _run(command, specification["variables"]) if command else 0
            if status != 0:
                return status
            if command is commands[0]:
                _bring_interpreter(environment)
        return 0
    finally:
        if relay is not None:
            os.kill(relay.pid, 9)


def _creation(environment: str) -> list:
    """The command that makes the environment; nothing when there is one of this interpreter."""
    own = os.path.realpath(getattr(sys, "_base_executable", None) or sys.executable)
    if os.path.realpath(os.path.join(environment, "bin", "python")) == own:
        return []
    return [sys.executable, "-I", "-m", "venv", "--without-pip", "--system-site-packages", environment]


def _bring_interpreter(environment: str) -> None:
    if sys.prefix == sys.base_prefix:
        return
    version = "python%d.%d" % sys.version_info[:2]
    path = os.path.join(environment, "lib", version, "site-packages", _INTERPRETER)
    with open(path, "w", encoding="utf-8") as file:
        file.write("".join(f"{folder}\n" for folder in site.getsitepackages()))


def _run(command: list, variables: dict) -> int:
    """Runs a command to its end, and takes in whoever else ends meanwhile: in a sandbox this is process 1."""
    child = subprocess.Popen(command, env=variables, stdin=subprocess.DEVNULL, stderr=subprocess.STDOUT)
    while True:
        try:
            pid, status = os.waitpid(-1, 0)
        except InterruptedError:
            continue
        if pid == child.pid:
            child.returncode = os.waitstatus_to_exitcode(status)
            return child.returncode if child.returncode >= 0 else 128 - child.returncode


if __name__ == "__main__":
    sys.exit(main(json.loads(sys.argv[2])))
