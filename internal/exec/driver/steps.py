"""The steps of an action: Netlab's commands, each in a process of its own, forked before Netlab's state is used."""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import signal
import sys
from typing import Any, Callable, Iterator, NoReturn, Optional

from netlab_driver import command, identity
from netlab_driver.failure import UNFINISHED

HELD = {signal.SIGINT, signal.SIGTERM}
GO = b"go\n"
WITHDRAWN = 1  # exit code of an up that was told not to go on; it says nothing by itself


class Steps:
    """Runs Netlab's commands. An interrupt reaches the command as well, and ends the action when the command has ended by it."""

    def __init__(self, recorder: Any) -> None:
        self.recorder = recorder
        self._returned = mmap.mmap(-1, 1)  # 1 once the call has returned, in its process: shared with that
        self._waiting = False
        self.interrupted = False  # while a command ran
        signal.signal(signal.SIGINT, self._interrupt)

    def _interrupt(self, *_: Any) -> None:
        if not self._waiting:
            raise KeyboardInterrupt
        self.interrupted = True

    @contextlib.contextmanager
    def _patience(self) -> Iterator[None]:
        """Leave interrupts to the command meanwhile."""
        before, self._waiting = self._waiting, True
        try:
            yield
        finally:
            self._waiting = before

    def fork(self, call: Callable) -> int:
        """Start a process that calls and exits with what is returned."""
        sys.stdout.flush()
        sys.stderr.flush()
        self._returned[0] = 0
        signal.pthread_sigmask(signal.SIG_BLOCK, HELD)
        pid = os.fork()
        if pid:
            return pid  # the caller unblocks once it waits
        code = 1
        try:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            code = call()
            self._returned[0] = 1
        finally:
            leave(code)

    def netlab(self, call: Callable) -> int:
        """Run a command of Netlab's, whose errors are recorded. Returns as run does."""
        return self.run(lambda: command.guarded(self.recorder, begun(call)))

    def run(self, call: Callable) -> int:
        """Call in a process of its own, and return its exit code, or -N where signal N killed it."""
        pid = self.fork(call)
        with self._patience():
            signal.pthread_sigmask(signal.SIG_UNBLOCK, HELD)
            code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        return self.judge(code)

    def confer(self, call: Callable, decide: Callable) -> int:
        """Call in a process of its own, which at one point asks decide(question), and goes on only if that is true.

        call gets a function that it has to call with the transformed topology.
        """
        asking, question = os.pipe()
        answer, answering = os.pipe()

        def child() -> int:
            os.close(asking)
            os.close(answering)
            return call(lambda topology: await_go(question, answer, topology))

        pid = self.fork(child)
        os.close(question)
        os.close(answer)
        with open(asking, "rb") as asked, contextlib.ExitStack() as stack:
            stack.callback(os.close, answering)
            with self._patience():
                signal.pthread_sigmask(signal.SIG_UNBLOCK, HELD)
                line = asked.readline()
            code: Optional[int] = None
            try:
                if line.endswith(b"\n") and not self.interrupted and decide(json.loads(line)):
                    with contextlib.suppress(BrokenPipeError):
                        os.write(answering, GO)
            finally:
                stack.close()  # without an answer the child ends
                with self._patience():
                    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        return self.judge(code)

    def judge(self, code: int) -> int:
        """The exit code, but 1 for a 0 with which something else than the end of the call has ended the process."""
        if self.interrupted and code:
            raise KeyboardInterrupt
        if code or self._returned[0]:
            return code
        print(f"netlab-worker: {UNFINISHED}", file=sys.stderr, flush=True)
        self.recorder.errors([UNFINISHED])
        return 1


def leave(code: int) -> NoReturn:
    """End this process, a fork, without what its parent would do at its end."""
    with contextlib.suppress(Exception):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)


def begun(call: Callable) -> Callable:
    """The same, taking signals from here on."""

    def unheld() -> None:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HELD)
        call()

    return unheld


def await_go(question: int, answer: int, topology: Any) -> None:
    """In the command's process: ask, and end it where the answer is not to go on."""
    # Two writes would do as well: the reader takes a line.
    with open(question, "wb") as f:
        f.write(json.dumps(identity.of(topology)).encode() + b"\n")
    reply = os.read(answer, len(GO))
    os.close(answer)
    if reply != GO:
        leave(WITHDRAWN)
