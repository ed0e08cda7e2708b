"""By what it is seen that something was installed: the stamps of files and folders."""

from __future__ import annotations

import contextlib
import glob
import importlib.util
import os
import site
import sys
from importlib.machinery import SourceFileLoader
from typing import Any, Iterator, Optional


def stamp(path: str) -> Optional[tuple]:
    with contextlib.suppress(OSError):
        stat = os.stat(path)
        return (stat.st_mtime_ns, stat.st_size, stat.st_ino)
    return None


def places() -> set:
    """What changes when something is installed for this interpreter, as far as it is known before Netlab is imported."""
    found = {sys.executable, f"{sys.prefix}/pyvenv.cfg", *sys.path}
    folders = site.getsitepackages()  # also those that are not there yet
    if site.ENABLE_USER_SITE:
        folders.append(site.getusersitepackages())
    for folder in folders:
        found.update([folder, *glob.glob(f"{glob.escape(folder)}/*.pth")])  # which add to the path
    with contextlib.suppress(Exception):
        netsim: Any = importlib.util.find_spec("netsim")
        found.add(netsim.origin or "")
    return found


@contextlib.contextmanager
def noting(stamps: dict) -> Iterator[None]:
    """Note the file of each module that is imported meanwhile, before it is read: it may be replaced while it is."""
    path_stats = SourceFileLoader.path_stats

    def noted(loader: Any, path: Any) -> Any:
        stamps.setdefault(path, stamp(path))
        return path_stats(loader, path)

    SourceFileLoader.path_stats = noted  # type: ignore[method-assign]
    try:
        yield
    finally:
        SourceFileLoader.path_stats = path_stats  # type: ignore[method-assign]
