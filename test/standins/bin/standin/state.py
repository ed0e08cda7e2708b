"""The pretended host: containers, labs, networks and bridges in one JSON file.

The file is STANDIN_STATE, or state.json in the folder above the one the stand-in was called from (a symlink to the
stand-in counts where it lies, not where it points). Readers see a whole state at any time: it is replaced by a
rename. Writers take a lock on <file>.lock.
"""

import contextlib
import fcntl
import json
import os
import sys
import time


def path():
    """The state file's path."""
    set_path = os.environ.get("STANDIN_STATE")
    if set_path:
        return os.path.abspath(set_path)
    called = os.path.abspath(sys.argv[0])
    return os.path.join(os.path.dirname(os.path.dirname(called)), "state.json")


def folder():
    """The folder of the state file, where the knobs and gates are too."""
    return os.path.dirname(path())


def open_shared(name, flags):
    """Open a file, made if it is not there, which programs of other users can open too."""
    try:
        fd = os.open(name, flags | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        os.fchmod(fd, 0o666)
        return fd
    except FileExistsError:
        return os.open(name, flags | os.O_CLOEXEC)


@contextlib.contextmanager
def locked():
    """Hold the lock that all writers of the folder take."""
    fd = open_shared(path() + ".lock", os.O_RDWR)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def read():
    """The state as it is now; containers that were to come up meanwhile are up."""
    state = {"containers": {}, "labs": {}, "networks": {}, "bridges": {}}
    with contextlib.suppress(FileNotFoundError):
        with open(path(), encoding="utf-8") as file:
            state.update(json.load(file))
    for container in state["containers"].values():
        due = container.get("startsAt")
        if due is not None and due <= time.time():
            start(container, due)
    return state


@contextlib.contextmanager
def change():
    """Hold the lock, give the state to be changed, and store it unless an exception ends the block."""
    with locked():
        state = read()
        yield state
        replace(path(), state)


def replace(name, value):
    """Write a JSON file by a rename."""
    temporary = f"{name}.{os.getpid()}"
    with open(temporary, "w", encoding="utf-8") as file:
        json.dump(value, file, indent=1, sort_keys=True)
        os.fchmod(file.fileno(), 0o666)
    os.rename(temporary, name)


def start(container, when=None):
    """Mark a container as running since a time (now)."""
    container["state"] = "running"
    container["started"] = when or time.time()
    container.pop("startsAt", None)
