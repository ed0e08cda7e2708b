"""The files of a run's directory.

plan.json (the worker's), driver.json (the fence: who runs it), progress and errors (lines of JSON, as things happen) and
result.json (the end, written once).
"""

from __future__ import annotations

import contextlib
import json
import os
from typing import Any


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


def finish(run_dir: str, result: dict) -> None:
    """Write result.json, atomically and onto the disk."""
    draft = f"{run_dir}/result.json.{os.getpid()}"
    write_synced(draft, result)
    os.replace(draft, f"{run_dir}/result.json")
    sync_dir(run_dir)


class Recorder:
    """Appends what happens in a run to its files. Several processes of the run do so at once."""

    def __init__(self, run_dir: str) -> None:
        self.dir = run_dir

    def _append(self, name: str, value: dict) -> None:
        with open(f"{self.dir}/{name}", "ab", buffering=0) as f:
            f.write(json.dumps(value).encode() + b"\n")  # one write: lines of several processes don't mix

    def _read(self, name: str) -> list:
        with contextlib.suppress(FileNotFoundError), open(f"{self.dir}/{name}", encoding="utf-8") as f:
            return [json.loads(line) for line in f if line.endswith("\n")]
        return []

    def command(self, name: str) -> None:
        self._append("progress", {"command": name})

    def phase(self, text: str) -> None:
        self._append("progress", {"phase": " ".join(text.split())})

    def errors(self, lines: list) -> None:
        self._append("errors", {"lines": [str(line) for line in lines]})

    def last_phase(self) -> str:
        """The last phase of the last command."""
        progress = self._read("progress")
        return progress[-1].get("phase", "") if progress else ""

    def error_lines(self) -> list:
        return [line for entry in self._read("errors") for line in entry["lines"]]
