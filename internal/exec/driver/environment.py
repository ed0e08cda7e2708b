"""The environment of a job's commands."""

from __future__ import annotations

import json
import os
import time


def read(fd: int) -> dict:
    with open(fd, encoding="utf-8") as f:
        return dict(json.load(f))


def take(variables: dict) -> None:
    """Make it this process's own, as if Python had been started in it."""
    os.environ.clear()
    os.environ.update(variables)
    time.tzset()
