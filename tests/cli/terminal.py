"""Runs a program on a pseudo-terminal and does what a person would do.

Usage: terminal.py PROGRAM ARGS...  Standard input: JSON, a list of [text, keys]. Once the program has shown `text`, after
what earlier steps waited for, `keys` are typed. Writes what the terminal showed, without escape sequences, to standard
output and exits as the program does. If a text does not come, says so on standard error.
"""

import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import sys
import termios
import time

LIMIT = 60  # seconds for one step: debug builds on a busy machine
ESCAPES = re.compile(rb"\x1b\[[0-9;?]*[A-Za-z]|\x1b[=>]")


def without_escapes(screen):
    return ESCAPES.sub(b"", screen).replace(b"\r", b"")


def main():
    steps = json.load(sys.stdin)
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(sys.argv[1], sys.argv[1:])
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("4H", 40, 120, 0, 0))
    screen, at = b"", 0
    problem = None
    for text, keys in steps + [[None, ""]]:
        deadline = time.monotonic() + LIMIT
        while True:
            shown = without_escapes(screen)
            found = -1 if text is None else shown.find(text.encode(), at)
            if found >= 0:
                at = found + len(text.encode())
                break
            ready, _, _ = select.select([terminal], [], [], max(0, deadline - time.monotonic()))
            if not ready:
                problem = f"after {LIMIT} s the program has not {'ended' if text is None else f'shown {text!r}'}"
                break
            try:
                data = os.read(terminal, 65536)
            except OSError:  # Linux: the program has ended
                data = b""
            if not data:
                if text is not None:
                    problem = f"the program ended and has not shown {text!r}"
                break
            screen += data
        if problem or text is None:
            break
        time.sleep(0.1)  # what was shown before the prompt: the terminal may still be in the other mode
        os.write(terminal, keys.encode())
    if problem:
        print(problem, file=sys.stderr)
        os.kill(pid, signal.SIGKILL)
    status = os.waitpid(pid, 0)[1]
    sys.stdout.buffer.write(without_escapes(screen))
    sys.stdout.flush()
    sys.exit(os.waitstatus_to_exitcode(status) % 256)


main()
