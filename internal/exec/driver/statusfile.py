"""Netlab's status file, kept whole.

Netlab truncates the file before it writes it, and reads it without its lock: a reader in between sees no labs at all, and
an interrupt in between loses every lab of the file.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import os
import shutil
import time
from typing import Any, Callable, Iterator

from netlab_driver.failure import Failure

PATIENCE = 30.0  # seconds to wait for the file's lock before it is written; Netlab itself gives up after 3
PACKAGE_DEFAULTS = "package:topology-defaults.yml"
READER_PATIENCE = 3.0  # seconds to wait for it before a read, which then goes on: what is half written is read again


def use(path: str) -> None:
    """Make this process's Netlab use the file at path (where it is set) and wait its turn for it."""
    from netsim.utils import status

    if path:

        def chosen(topology: Any) -> str:
            return path

        chosen.chosen = True  # type: ignore[attr-defined]
        status.get_status_filename = chosen
    lock = status.FileLock
    status.FileLock = lambda name, timeout=PATIENCE: lock(name, timeout=max(timeout, PATIENCE))
    status.open = open_replacing  # type: ignore[attr-defined]
    status.read_status = read


@contextlib.contextmanager
def open_replacing(path: str, mode: str = "r") -> Iterator[Any]:
    """Like open, but a file opened with "w" takes the old one's place only once it has been written."""
    if mode != "w":
        with open(path, mode, encoding="utf-8") as f:
            yield f
        return
    target = os.path.realpath(path)
    draft = f"{target}.{os.getpid()}.tmp"
    try:
        with open(draft, mode, encoding="utf-8") as f:
            yield f
        if os.path.exists(target):
            shutil.copymode(target, draft)
        os.replace(draft, target)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(draft)


@contextlib.contextmanager
def shared_lock(path: str) -> Iterator[None]:
    """Hold Netlab's lock as a reader. Never creates it: a lock file made by root would lock the lab's user out."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        yield
        return
    try:
        deadline = time.monotonic() + READER_PATIENCE
        while time.monotonic() < deadline:
            try:
                fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                time.sleep(0.02)
            except OSError:  # a file system without locks: the retries of read have to do
                break
        yield
    finally:
        os.close(fd)


def read(topology: Any) -> Any:
    """Every lab of the status file by its id, as netsim.utils.status.read_status reads it, but not while it is written."""
    import yaml
    from netsim.data import get_box, get_empty_box
    from netsim.utils import log, status

    path = status.get_status_filename(topology)
    fault = ""
    for _ in range(20):  # a second: a Netlab started by hand needs some 20 ms between truncating and writing
        try:
            with shared_lock(f"{path}.lock"), open(path, encoding="utf-8") as f:
                labs = yaml.safe_load(f)
            if isinstance(labs, dict):
                return get_box({key: entry for key, entry in labs.items() if is_entry(entry)})
            fault = "" if labs is None else "it holds no map"
        except FileNotFoundError:
            return get_empty_box()
        except (OSError, ValueError, yaml.YAMLError) as ex:
            fault = str(ex)
        time.sleep(0.05)
    if fault:
        log.fatal(f"Cannot read lab status file {path}: {fault}")
    return get_empty_box()  # empty for good: what an interrupted Netlab leaves, and Netlab reads it as no labs


def where() -> Any:
    """What Netlab's functions take to find the file that use has set, else Netlab's own."""
    from netsim.data import get_empty_box
    from netsim.utils import read, status

    topology = get_empty_box()
    if getattr(status.get_status_filename, "chosen", False):
        return topology
    if not any(os.path.exists(path) for path in read.SYSTEM_DEFAULTS):
        topology.defaults.lab_status_file = packaged()
        return topology
    topology.defaults = read.system_defaults().defaults
    read.read_cache.clear()  # a command that is forked from this process starts as if nothing had been read
    return topology


@functools.cache
def packaged() -> str:
    """What Netlab's package says of where the file is: to read that takes a fifth of a second."""
    from netsim.utils import read

    value = read.read_yaml(PACKAGE_DEFAULTS).lab_status_file  # type: ignore[union-attr]
    read.read_cache.clear()
    return value


def location() -> str:
    """The path of the file that this process's Netlab uses."""
    from netsim.utils import status

    return status.get_status_filename(where())


def labs() -> dict:
    """Every entry of the file by its id, as plain data. What is no entry of Netlab's is left out."""
    return {key: dict(entry) for key, entry in read(where()).items()}


def is_entry(entry: Any) -> bool:
    """Whether it is an entry as Netlab writes them: no command of Netlab's gets past another."""
    if not isinstance(entry, dict):
        return False
    kinds = {"dir": str, "status": str, "providers": list, "log": list}
    return all(entry.get(key) is None or isinstance(entry[key], kind) for key, kind in kinds.items())


def forget(keys: list) -> None:
    """Remove these entries, under Netlab's own lock."""
    change(lambda entries: [entries.pop(key, None) for key in keys])


def adopt(key: Any, folder: str) -> None:
    """The lab of this id is in another folder now, because that was moved."""

    def move(entries: Any) -> None:
        if key in entries:
            entries[key].dir = folder

    change(move)


def change(callback: Callable) -> None:
    """Change the entries under Netlab's own lock. Raises Failure where that cannot be had."""
    from netsim.utils import log, status

    fatal, log.fatal = log.fatal, refuse
    try:
        status.change_status(where(), callback=lambda entries, _: callback(entries))
    finally:
        log.fatal = fatal


def refuse(text: str, *_: Any, **__: Any) -> None:
    """In place of Netlab's log.fatal, which ends the process."""
    raise Failure(" ".join(text.replace("<class 'filelock._error.Timeout'>", "another process holds it").split()))


def repair() -> None:
    """Put a damaged file aside, or remove its damaged entries: no command of Netlab's gets past either. The labs are found by
    their directories and containers."""
    import yaml
    from filelock import FileLock, Timeout

    path = location()
    if not damaged(path, yaml.YAMLError):
        repair_entries(path)
        return
    with contextlib.suppress(OSError, Timeout), FileLock(f"{path}.lock", timeout=PATIENCE):
        if damaged(path, yaml.YAMLError):  # still, now that nobody is writing it
            aside = f"{path}.damaged-{int(time.time())}"
            os.replace(path, aside)
            print(f"netlab-worker: Netlab's status file {path} is damaged, it is now {aside}", flush=True)


def repair_entries(path: str) -> None:
    """Remove the entries that are none, where the others are sound."""
    import yaml

    try:
        with open(path, encoding="utf-8") as f:
            bad = [key for key, entry in yaml.safe_load(f).items() if not is_entry(entry)]
    except OSError:
        return
    if bad:
        print(f"netlab-worker: of Netlab's status file {path} these entries are damaged, they are removed: {', '.join(map(str, bad))}", flush=True)
        forget(bad)


def damaged(path: str, fault: type) -> bool:
    import yaml

    if os.path.exists(path) and not os.path.isfile(path):  # a pipe would be waited for
        return True
    try:
        with open(path, encoding="utf-8") as f:
            return not isinstance(yaml.safe_load(f), dict)
    except OSError:  # that is no damage
        return False
    except (ValueError, fault):
        return True
