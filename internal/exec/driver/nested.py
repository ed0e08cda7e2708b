"""The Netlab command that a command of Netlab's starts by itself: up starts `netlab initial`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from typing import Callable

from netlab_driver import environment
from netlab_driver.steps import HELD, leave

INTERRUPT_PATIENCE = 0.25  # seconds that an interrupted subprocess.run waits for its process


class Spare:
    """A process that waits for the command, and then calls run(name, args). It is forked before Netlab's state is used, so it is as
    good as one that is started anew, and has Netlab imported already. Signals are held back meanwhile."""

    def __init__(self, run: Callable) -> None:
        reading, self.writing = os.pipe()
        sys.stdout.flush()
        sys.stderr.flush()
        self.pid = os.fork()
        if self.pid == 0:
            code = 1
            try:
                code = await_command(reading, run)
            finally:
                leave(code)
        os.close(reading)
        self.used = False

    def run(self, words: list, kwargs: dict) -> subprocess.CompletedProcess:
        """As subprocess.run does it."""
        self.used = True
        with open(self.writing, "w", encoding="utf-8", errors="surrogateescape") as f:
            json.dump({"words": words[1:], "directory": os.getcwd(), "environment": dict(os.environ)}, f)
        try:
            status = os.waitpid(self.pid, 0)[1]
        except BaseException:
            end_soon(self.pid)
            raise
        result = subprocess.CompletedProcess(words, os.waitstatus_to_exitcode(status))
        if kwargs.get("check"):
            result.check_returncode()
        return result

    def can_run(self, args: tuple, kwargs: dict) -> bool:
        """Whether subprocess.run was called with nothing that this does otherwise."""
        return not self.used and not args and not any(value for name, value in kwargs.items() if name not in ("check", "text"))


def await_command(reading: int, run: Callable) -> int:
    """What the process does. Where no command comes, it ends with whom it waits for."""
    os.dup2(reading, 3)
    os.closerange(4, min(os.sysconf("SC_OPEN_MAX"), 65536))
    # Until there is something to do, a signal ends it without a word.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, HELD)
    with open(3, "rb") as f:
        content = f.read()
    if not content:
        return 0
    told = json.loads(content)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.chdir(told["directory"])
    environment.take(told["environment"])
    name, *args = told["words"]
    return run(name, args)


def end_soon(pid: int) -> None:
    """End a process that got the same interrupt."""
    end = time.monotonic() + INTERRUPT_PATIENCE
    while os.waitpid(pid, os.WNOHANG) == (0, 0):
        if time.monotonic() >= end:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            return
        time.sleep(0.01)
