"""The files of a run's directory.

plan.json and verdict.json (the worker's), driver.json (the fence: who runs it), progress and errors (lines of JSON, as things
happen) and result.json (the end, written once); scratch is a folder for whatever the commands need in passing, which goes with
the run's directory however they end. A command that runs as another user writes to progress, errors and scratch only: what is
read of them is as that user left it, and bounded.
"""

from __future__ import annotations

import contextlib
import errno
import json
import math
import os
import sys
import time
from typing import Any, Callable, Optional

from netlab_driver.failure import as_in_place

READ_LIMIT = 1 << 20  # bytes that are read of progress or errors, the last ones
QUESTION_LIMIT = 250 << 10  # bytes of JSON; the worker takes 256 KiB
ERROR_LIMIT = 4000  # characters of an error text
PHASE_LIMIT = 200  # characters of a phase
PROBLEM_LIMIT = 200  # problems of a result
WARNING_LIMIT = 20  # warnings of a result
TEMPLATE_LIMIT = 1000  # templates of a result; Netlab has fewer
WARNING_LENGTH = 500  # characters of a warning
POLL = 0.02  # seconds between two looks for the verdict


FULL = (errno.ENOSPC, errno.EDQUOT)
FULL_PAUSE = 0.5  # seconds between two tries to write to a disk that is full
FULL_PATIENCE = 5.0  # seconds that a command waits to say why it fails


def until_room(write: Callable, enough: Callable) -> None:
    """Write, and where the disk is full write again, until enough() is true."""
    while True:
        try:
            return write()
        except OSError as ex:
            if ex.errno not in FULL or enough():
                raise
        time.sleep(FULL_PAUSE)


def write_synced(path: str, value: Any) -> None:
    """Write value as JSON to a new file that is on the disk when this returns."""
    with open(path, "x", encoding="utf-8") as f:
        json.dump(value, f)
        f.flush()
        os.fsync(f.fileno())


def sync_dir(path: str) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def claim(run_dir: str) -> bool:
    """Make driver.json, complete from its first moment. False: it is there already, so this driver must not begin."""
    with open("/proc/self/stat", encoding="ascii", errors="replace") as f:
        start = int(f.read().rpartition(")")[2].split()[19])  # field 22; the text behind ')' begins with field 3
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as f:
        boot = f.read().strip()
    draft = f"{run_dir}/driver.json.{os.getpid()}"
    write_synced(draft, {"pid": os.getpid(), "start": start, "boot": boot})
    try:
        os.link(draft, f"{run_dir}/driver.json")
    except FileExistsError:
        return False
    finally:
        os.unlink(draft)
    sync_dir(run_dir)
    return True


def finish(run_dir: str, result: dict, hurried: Callable) -> None:
    """Write result.json, atomically and onto the disk. Where that is full, wait for room unless hurried() is true, and tell of it."""
    draft = f"{run_dir}/result.json.{os.getpid()}"

    def write() -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(draft)  # of a try before
        write_synced(draft, result)
        os.replace(draft, f"{run_dir}/result.json")
        sync_dir(run_dir)

    def enough() -> bool:
        result["diskFull"] = True
        return hurried()

    until_room(write, enough)


def read_verdict(content: str) -> dict:
    """The worker's answer, a refusal where it cannot be read."""
    with contextlib.suppress(ValueError, RecursionError):
        verdict = json.loads(content)
        if isinstance(verdict, dict):
            return {"refused": verdict["refused"]} if verdict.get("refused") else {}
    return {"refused": "the worker's answer whether the lab may start (verdict.json) is damaged; send the job again"}


def cut(text: Any, limit: int) -> str:
    text = text if isinstance(text, str) else str(text)
    return text if len(text) <= limit else text[:limit] + "…"


class Recorder:
    """Appends what happens in a run to its files. Several processes of the run do so at once."""

    def __init__(self, run_dir: str, asks: bool = False) -> None:
        self.dir = run_dir
        self.scratch = f"{run_dir}/scratch"
        self.copy = ""  # of the working directory, where the command works in one: its path says nothing to whoever reads of an error
        self.asks = asks
        self.driver = os.getpid()

    def prepare(self, user: Optional[dict]) -> None:
        """Make what the commands write to, which belongs to the user as whom they run."""
        os.mkdir(self.scratch, 0o700)
        if user:
            os.chown(self.scratch, user["uid"], user["gid"])
        for name in ("progress", "errors"):
            fd = os.open(f"{self.dir}/{name}", os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            if user:
                os.fchown(fd, user["uid"], user["gid"])
            os.close(fd)

    def _append(self, name: str, value: dict, patience: float = FULL_PATIENCE) -> None:
        """Add a line. After so many seconds before a full disk it is left out: the run itself is worth more."""
        line = json.dumps(value).encode() + b"\n"
        end = time.monotonic() + patience

        def write() -> None:
            nonlocal line
            with open(f"{self.dir}/{name}", "ab", buffering=0) as f:
                written = f.write(line)  # one write: lines of several processes don't mix
            if written != len(line):
                line = b"\n" + line.lstrip(b"\n")  # not behind what there was room for
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        with contextlib.suppress(OSError) if patience != math.inf else contextlib.nullcontext():
            until_room(write, lambda: time.monotonic() >= end)

    def size(self, name: str) -> int:
        with contextlib.suppress(OSError):
            return os.stat(f"{self.dir}/{name}").st_size
        return 0

    def _read(self, name: str, begin: int = 0) -> list:
        """The entries of the file from that byte on, of many the last ones. What is no entry is left out."""
        entries = []
        with contextlib.suppress(OSError), open(f"{self.dir}/{name}", "rb") as f:
            end = f.seek(0, os.SEEK_END)
            f.seek(max(begin, end - READ_LIMIT))
            for line in f.read(READ_LIMIT).split(b"\n")[:-1]:
                with contextlib.suppress(ValueError, RecursionError):
                    entry = json.loads(line)
                    if isinstance(entry, dict):
                        entries.append(entry)
        return entries

    def command(self, name: str) -> None:
        self._append("progress", {"command": name}, 0)

    def phase(self, text: str) -> None:
        self._append("progress", {"phase": cut(" ".join(text.split()), PHASE_LIMIT)}, 0)

    def errors(self, lines: list) -> None:
        self._append("errors", {"lines": [self._error(line) for line in lines]})

    def problem(self, file: str, text: str) -> None:
        """Note one of Netlab's errors as data: the file it is in ("" where it is in none) and the text."""
        self._append("errors", {"problem": {"file": cut(file, ERROR_LIMIT), "text": self._error(text)}})

    def _error(self, text: Any) -> str:
        return cut(as_in_place(str(text), self.copy), ERROR_LIMIT)

    def warning(self, text: str) -> None:
        """Note what is done otherwise than the request says."""
        self._append("errors", {"warning": cut(text, ERROR_LIMIT)})

    def template(self, name: str, path: str) -> None:
        """Note a template of Netlab's own that had to be compiled."""
        self._append("errors", {"template": [name, path]}, 0)

    def invalid(self, text: str) -> None:
        """Note that the request is to blame for this command's failure, which text explains. The caller ends the command."""
        self._append("errors", {"invalid": cut(text, ERROR_LIMIT)})

    def ask(self, question: dict) -> dict:
        """Ask the worker, and wait for as long as it takes: it may be restarting.

        Returns {"refused": text} or {}, which is also the answer of a run that is not to ask.
        """
        if not self.asks:
            return {}
        if len(json.dumps(question)) > QUESTION_LIMIT:
            return {"refused": "the lab is too large for this host's worker: it would have too many containers or networks"}
        self._append("progress", {"question": question}, math.inf)
        while True:
            # It comes by a link of a complete file, so what can be read is whole.
            with contextlib.suppress(FileNotFoundError), open(f"{self.dir}/verdict.json", encoding="utf-8") as f:
                return read_verdict(f.read())
            if self.driver not in (os.getpid(), os.getppid()):
                sys.exit("the run's driver is gone, so nobody answers")
            time.sleep(POLL)

    def last_phase(self) -> str:
        """The last phase of the last command."""
        progress = [entry for entry in self._read("progress") if "phase" in entry or "command" in entry]
        return cut(progress[-1].get("phase", ""), PHASE_LIMIT) if progress else ""

    def outcome(self, begin: int) -> dict:
        """What errors has from that byte on: its lines, problems, warnings, templates, and the text of an invalid request ("" for none)."""
        lines: list = []
        problems: list = []
        warnings: list = []
        templates: list = []
        invalid = ""
        for entry in self._read("errors", begin):
            if isinstance(entry.get("lines"), list):
                lines.extend(cut(line, ERROR_LIMIT) for line in entry["lines"])
            problem = entry.get("problem")
            if isinstance(problem, dict) and len(problems) < PROBLEM_LIMIT:
                problems.append({key: cut(problem.get(key, ""), ERROR_LIMIT) for key in ("file", "text")})
            if entry.get("warning") and len(warnings) < WARNING_LIMIT:
                warnings.append(cut(entry["warning"], WARNING_LENGTH))
            template = entry.get("template")
            if isinstance(template, list) and [type(part) for part in template] == [str, str] and len(templates) < TEMPLATE_LIMIT:
                templates.append(template)
            invalid = invalid or cut(entry.get("invalid", ""), ERROR_LIMIT)
        return {"lines": lines, "problems": problems, "warnings": warnings, "templates": templates, "invalid": invalid}
