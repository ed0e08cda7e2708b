"""A copy of the working directory, for what generates without touching the lab.

Links would not do: Netlab writes files of names that only its providers and plugins know, and through a link it would write them
into the lab.
"""

from __future__ import annotations

import os
import stat

from netlab_driver import files
from netlab_driver.takedown import say

FILE_LIMIT = 16 << 20  # bytes of a file
TOTAL_LIMIT = 256 << 20  # bytes of all files
ENTRY_LIMIT = 10000  # files and folders
NAMED = 10  # entries that the log names of those that are left out


class LeftOut(Exception):
    """Why an entry is not copied."""


def lay_out(parent: str) -> str:
    """Go to a copy of the working directory that has what Netlab may want to read and nothing it makes. Returns the copy's path.

    Its name is the working directory's, which is the lab's where the topology has none.
    """
    here = os.getcwd()
    copy = Copy(here, os.path.join(parent, os.path.basename(here)))
    copy.make({*files.GENERATED, *files.lab_folders(), "__pycache__"})
    if copy.left_out:
        more = f" and {len(copy.left_out) - NAMED} more" if len(copy.left_out) > NAMED else ""
        say(f"this is done without {', '.join(copy.left_out[:NAMED])}{more}")
    os.chdir(copy.target)
    return copy.target


class Copy:
    """A copy of the folder source, which follows the links that lead out of it, within limits."""

    def __init__(self, source: str, target: str) -> None:
        self.source, self.target = source, target
        self.folders: list = []  # each with the real folders that it lies in
        self.bytes, self.entries = TOTAL_LIMIT, ENTRY_LIMIT  # that may still be copied
        self.left_out: list = []

    def make(self, skipped: set) -> None:
        """Copy, the upper folders first: where there is too much, it is the deepest files that are left out."""
        os.mkdir(self.target)
        self.folders.append(("", (self.source,)))
        for folder, above in self.folders:  # to which take appends
            for name in self.names(folder):
                path = os.path.join(folder, name)
                if path in skipped:
                    continue
                try:
                    self.take(path, above)
                except LeftOut as ex:
                    self.left_out.append(f"{path} ({ex})")

    def names(self, folder: str) -> list:
        try:
            return sorted(os.listdir(os.path.join(self.source, folder)))
        except OSError as ex:
            self.left_out.append(f"{folder or '.'} ({ex.strerror})")
            return []

    def take(self, path: str, above: tuple) -> None:
        source, target = os.path.join(self.source, path), os.path.join(self.target, path)
        if not self.entries:
            raise LeftOut(f"there are more than {ENTRY_LIMIT} files")
        self.entries -= 1
        real = os.path.realpath(source)
        if os.path.islink(source) and f"{real}/".startswith(f"{self.source}/"):
            os.symlink(self.target + real[len(self.source) :], target)
        elif not os.path.isdir(source):
            content, mode = self.read(source)
            with open(target, "xb") as f:
                f.write(content)
                os.fchmod(f.fileno(), mode)
        elif real not in above:  # else it is a link to a folder that it lies in
            os.mkdir(target)
            self.folders.append((path, (*above, real)))

    def read(self, path: str) -> tuple:
        """The content of the file and its mode."""
        limit = min(FILE_LIMIT, self.bytes)
        try:
            with files.opened(path) as f:
                content, mode = f.read(limit + 1), os.fstat(f.fileno()).st_mode
        except OSError as ex:
            raise LeftOut(ex.strerror) from ex
        if len(content) > limit:
            raise LeftOut(f"larger than the {limit} bytes that there is room for")
        self.bytes -= len(content)
        return content, stat.S_IMODE(mode) & 0o777
