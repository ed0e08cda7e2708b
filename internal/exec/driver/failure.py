"""What went wrong, as people read it."""

from __future__ import annotations

import signal

ERROR_LIMIT = 4000  # characters of an error text
UNFINISHED = "Netlab ended with exit code 0 before it was done: code of the lab's, a plugin, may have ended it (sys.exit, os._exit)"


class Failure(Exception):
    """An action ends, and the text says why and what to do next."""


def error_text(lines: list, name: str, code: int) -> str:
    """What went wrong, the cause first, from what Netlab logged as errors. A negative code is a signal."""
    lines = list(dict.fromkeys(line.rstrip() for line in lines if line.strip()))
    causes = [line for line in lines if "Cannot proceed beyond this point due to errors" not in line] or lines
    if code < 0:
        causes.insert(0, f"netlab {name} was killed by signal {-code} ({signal.Signals(-code).name})")
    text = "\n".join(causes) or f"netlab {name} ended with exit code {code}"
    return text if len(text) <= ERROR_LIMIT else text[:ERROR_LIMIT] + "…"


def as_in_place(text: str, copy: str) -> str:
    """The text as it would be in the working directory itself, where it comes from the copy of it at that path ("" for none)."""
    return text.replace(f"{copy}/", "").replace(copy, ".") if copy else text


def enumerate_left(left: dict) -> str:
    """{"container": ["a", "b"], "network": []} as "containers a, b"."""
    parts = [f"{kind}{'s' if len(names) > 1 else ''} {', '.join(names)}" for kind, names in left.items() if names]
    return "; ".join(parts)
