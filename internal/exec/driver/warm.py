"""A parent that has imported Netlab once, and forks for each run what would otherwise import it again.

It runs no command itself and reads nothing of a lab's, so no run leaves anything behind in it for the next one. It is told of a run
by a message on the socket to the worker, with these descriptors: a socket of that run's own, the run's output, the environment of
its commands, and the working directory, if it is handed one. The fork says its number on the run's socket, and begins once it is
told to there: a worker that has stopped waiting for it may have started the run in another way.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import sys
import time
import traceback

from netlab_driver import install, run
from netlab_driver.ready import Ready
from netlab_driver.steps import leave
from netlab_driver.title import Title

MESSAGE_LIMIT = 16384  # bytes; the longest path has 4096
DESCRIPTORS = 4
GO = b"go"


class Parent:
    """Serves the worker until that closes its socket, or has sent nothing for so many seconds."""

    def __init__(self, worker: socket.socket, idle: float, oldest: str) -> None:
        self.worker, self.idle = worker, idle
        self.ready = Ready(oldest)
        self.title = Title("warm")

    def serve(self) -> None:
        # The kernel reaps the forks: how a run ended is told by its files.
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        ready = self.ready
        end = time.monotonic() + self.idle
        while True:
            if len(os.listdir("/proc/self/task")) > 1:
                sys.exit("netlab-worker: what was imported has started a thread, and a fork would have what that holds, but not the thread")
            wait = 0.0 if ready.chores else max(0.0, end - time.monotonic())
            readable = select.select([self.worker, *ready.sources], [], [], wait)[0]
            if self.worker in readable:
                message, fds, _, _ = socket.recv_fds(self.worker, MESSAGE_LIMIT, DESCRIPTORS)
                if not message:
                    return  # the worker is gone
                self.fork(json.loads(message), fds)
                end = time.monotonic() + self.idle
            elif readable:
                ready.attempt(ready.sources[readable[0]], readable[0])
            elif ready.chores:
                ready.attempt(ready.chores.pop(0))
            elif time.monotonic() >= end:
                return

    def fork(self, request: dict, fds: list) -> None:
        """Start the run. Where something was installed meanwhile the worker is told so, and this process ends."""
        changed = self.ready.changed()
        if changed:
            answer(fds[0], {"changed": changed})
            sys.exit(0)
        pid = -1
        try:
            pid = os.fork()
        except OSError as ex:  # no more processes, say
            answer(fds[0], {"failed": install.last_line(ex)})
        if pid == 0:
            code = 1
            try:
                code = self.begin(request, fds)
            except BaseException:
                traceback.print_exc()
            leave(code)
        for fd in fds:
            os.close(fd)

    def begin(self, request: dict, fds: list) -> int:
        """In the fork: become what a driver is that was started by itself, and run."""
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.setsid()
        talk, output, *rest = fds
        try:
            os.chdir(request["dir"])
            os.environ["RUNNER_JOB"] = request["job"]
            self.title.set(request["dir"], request["job"])
        except Exception as ex:
            answer(talk, {"failed": install.last_line(ex)})
            return 1
        answer(talk, {"pid": os.getpid(), "busy": self.ready.busy()})
        if os.read(talk, len(GO)) != GO:
            return 0
        os.close(talk)
        os.dup2(output, 1)
        os.dup2(output, 2)
        return run.run(request["dir"], rest, self.ready)


def answer(talk: int, said: dict) -> None:
    """Tell the worker. One that has stopped waiting needs to know nothing."""
    with contextlib.suppress(OSError):
        os.write(talk, json.dumps(said).encode())


def serve(fd: int, idle: float, oldest: str) -> int:
    os.set_inheritable(fd, False)
    with socket.socket(fileno=fd) as worker:
        Parent(worker, idle, oldest).serve()
    return 0
