"""What others see of a process: its command line and its environment, as /proc shows them."""

from __future__ import annotations

import os
from typing import Any


class Title:
    """The places in this process's memory that the kernel shows. A fork writes its own there.

    The worker leaves room for it: a long last argument, and a long RUNNER_JOB, by which it finds the processes of a run.
    """

    def __init__(self, verb: str) -> None:
        with open("/proc/self/stat", encoding="ascii", errors="replace") as f:
            fields = f.read().rpartition(")")[2].split()
        # Fields 48 to 51 of the line; the text behind ')' begins with field 3.
        arguments, arguments_end, environment, environment_end = (int(field) for field in fields[45:49])
        with open_memory() as memory:
            before = read(memory, arguments, arguments_end).partition(b"\0" + verb.encode() + b"\0")[0]
            self.command = (arguments + len(before) + 1, arguments_end)
            before, _, job = read(memory, environment, environment_end).partition(b"RUNNER_JOB=")
            begin = environment + len(before) + len(b"RUNNER_JOB=")
            self.job = (begin, begin + job.index(b"\0"))
            write(memory, self.job, read(memory, *self.job))  # if that is not allowed, nothing can be forked

    def set(self, run_dir: str, job: str) -> None:
        with open_memory() as memory:
            write(memory, self.command, b"run\0" + os.fsencode(run_dir))
            write(memory, self.job, job.encode())


def open_memory() -> Any:
    return open("/proc/self/mem", "r+b", buffering=0)


def read(memory: Any, begin: int, end: int) -> bytes:
    memory.seek(begin)
    return memory.read(end - begin)


def write(memory: Any, place: tuple, text: bytes) -> None:
    begin, end = place
    if len(text) > end - begin:
        raise ValueError(f"there is no room for {text!r}")
    memory.seek(begin)
    memory.write(text.ljust(end - begin, b"\0"))
