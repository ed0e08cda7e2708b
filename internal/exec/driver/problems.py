"""Netlab's errors as data: which file, and what is wrong with it."""

from __future__ import annotations

import os
import re
from typing import Any

UNREADABLE = re.compile(r"Cannot read (?:YAML from |file )?(\S+?)(?: that should be included into \S+)?(?::|$)")
NO_NEWS = "Cannot proceed beyond this point"


class ErrorLog(list):
    """Netlab's list of error lines. What is added at once is one error, or the hint that belongs to the last one."""

    def __init__(self, note: Any) -> None:
        super().__init__()
        self.note = note

    def extend(self, lines: Any) -> None:
        lines = list(lines)
        super().extend(lines)
        text = "\n".join(lines)
        if re.match(r"(\w+(?: in [\w.-]+)?|Fatal error in [^:]+): ", text) and NO_NEWS not in text:
            self.note(text)


def watch(recorder: Any, topology: str) -> None:
    """Record every error that Netlab logs in this process from now on: until generated, as one of the topology's."""
    from netsim.utils import log

    here = os.getcwd()
    log._ERROR_LOG = ErrorLog(lambda text: recorder.problem(file_of(text, topology, here), text))


def generated(recorder: Any) -> None:
    """The topology and its files were right: what goes wrong from here on is the host's."""
    from netsim.utils import log

    log._ERROR_LOG = ErrorLog(lambda text: recorder.problem("", text))


def file_of(text: str, topology: str, here: str) -> str:
    """The file that an error is in, relative to the working directory: the topology, unless the error names another one."""
    match = UNREADABLE.search(text)
    path = match.group(1) if match and os.path.isfile(os.path.join(here, match.group(1))) else topology
    path = os.path.join(here, path) if path else ""
    return os.path.relpath(path, here) if path.startswith(f"{here}/") else path
