"""Runs a program at a pseudo-terminal: what comes in is typed there, what it shows goes out.

The program's exit status is the last line of stderr. When this process ends, the terminal goes away.
"""

import fcntl
import os
import pty
import select
import struct
import sys
import termios

ROWS, COLUMNS = 40, 100

pid, terminal = pty.fork()
if pid == 0:
    os.execvp(sys.argv[1], sys.argv[1:])
fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
sources = [terminal, 0]
while True:
    readable, _, _ = select.select(sources, [], [])
    try:
        if 0 in readable:
            data = os.read(0, 65536)
            if not data:
                sources.remove(0)
            while data:
                data = data[os.write(terminal, data) :]
        if terminal in readable:
            shown = os.read(terminal, 65536)
            if not shown:
                break
            os.write(1, shown)
    except OSError:
        break
_, status = os.waitpid(pid, 0)
sys.stderr.write(f"{os.WEXITSTATUS(status) if os.WIFEXITED(status) else -os.WTERMSIG(status)}\n")
