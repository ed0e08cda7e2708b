"""What a parent holds ready for the runs that are forked from it: Netlab's modules, its defaults, and the templates that runs before
have used. All of it is the package's own, and the parent ends once a file of that has changed."""

from __future__ import annotations

import contextlib
import functools
import gc
import importlib
import json
import os
import pickle
import pkgutil
import sys
import time
from typing import Any, Iterable

from netlab_driver import inputs, install, run, statusfile
from netlab_driver.stamps import noting, places, stamp
from netlab_driver.statusfile import PACKAGE_DEFAULTS
from netlab_driver.steps import leave

COMMANDS = ("create", "up", "down", "collect", "initial")
PARTS = ("daemons", "devices", "modules", "outputs", "providers", "roles", "tools")
HEARD_LIMIT = 65536  # bytes of what drivers say that are read at once
TOLD_LIMIT = 4096  # bytes that a pipe takes at once, so that what several say does not mix
RUN_LIMIT = 200  # templates that a run may have kept, used or not; more than a large lab uses


class Ready:
    """Belongs to the parent; in a fork it is what the parent had prepared by then."""

    def __init__(self, oldest: str = "0") -> None:
        sys.dont_write_bytecode = True  # the folders would change in which it is written, and with them Netlab
        self.stamps: dict = {}
        self.note(places())
        with noting(self.stamps):
            install.load(oldest)
            import netsim

            self.folder = os.path.dirname(os.path.realpath(netsim.__file__))
            self.note_package()
            from netlab_driver.templates import Templates  # imports most of Netlab

            for name in COMMANDS:
                importlib.import_module(f"netsim.cli.{name}")
            run.import_driver()
        self.note_modules()
        self.templates = Templates(self.folder)
        self.untold = RUN_LIMIT  # in a driver: how many templates its run may still have kept
        self.defaults = b""  # pickled; empty: not loaded
        self.unused: Any = None  # the same as an object, for the first in a process who asks
        heard, self.told = os.pipe()
        os.set_blocking(self.told, False)
        self.sources: dict = {heard: self.hear}  # descriptors, and what to call with each when there is something to read
        self.chores: list = [self.load_parts, self.load_defaults]  # what there is to do while no run is asked for

    def busy(self) -> bool:
        return bool(self.chores) or len(self.sources) > 1

    def attempt(self, chore: Any, *args: Any) -> None:
        """Prepare something. What this Netlab does not have, or has in another form, its runs do without."""
        try:
            chore(*args)
        except Exception as ex:
            complain(ex)
        # A garbage collection of a fork does not look at what is frozen, which would copy all of it.
        gc.collect()
        gc.freeze()

    def load_parts(self) -> None:
        with noting(self.stamps):
            for part in PARTS:
                for module in pkgutil.walk_packages([f"{self.folder}/{part}"], f"netsim.{part}."):
                    importlib.import_module(module.name)
        inputs.installed()
        self.note_modules()

    def load_defaults(self) -> None:
        """Have Netlab's defaults read by another process: it takes longer than a run wants to wait, and much memory for good."""
        reading, writing = os.pipe()
        if os.fork() == 0:
            try:
                run.shed({writing})
                with open(writing, "wb") as f:
                    f.write(read_defaults())
            except BaseException as ex:
                complain(ex)
            leave(0)
        os.close(writing)
        self.sources[reading] = self.take_defaults

    def take_defaults(self, reading: int) -> None:
        del self.sources[reading]
        with open(reading, "rb") as f:
            pickled = f.read()
        self.unused = pickle.loads(pickled)  # of a process that has failed there is nothing, or a part
        self.defaults = pickled
        use_defaults(self)
        statusfile.packaged()  # uses up what is unused: two at a time would need more memory for good
        self.unused = pickle.loads(pickled)

    def hear(self, heard: int) -> None:
        """Take what drivers say of the templates of their runs. A line that is not whole yet is lost, and said again by a later run."""
        for line in os.read(heard, HEARD_LIMIT).splitlines():
            with contextlib.suppress(ValueError, TypeError):
                name, path = json.loads(line)
                if self.templates.wants(name, path):
                    self.chores.append(functools.partial(self.templates.compile, name, path))

    def tell(self, templates: list) -> None:
        """In a driver: say which templates its run has compiled, each by its name and file. What the pipe has no room for is left out.

        It is the run's user who says so: what is no template is not passed on, nor more than a run may have kept.
        """
        for name, path in templates:
            if not self.untold or not self.templates.wants(name, path):
                continue
            self.untold -= 1
            line = json.dumps([name, path]).encode() + b"\n"
            if len(line) <= TOLD_LIMIT:
                with contextlib.suppress(OSError):
                    os.write(self.told, line)

    def note(self, paths: Iterable) -> None:
        """Note files and folders in which a change is one of Netlab, or of what it imports, as they are now if they were not noted before."""
        for path in paths:
            self.stamps.setdefault(path, stamp(path))

    def note_package(self) -> None:
        for folder, folders, names in os.walk(self.folder):
            folders[:] = [name for name in folders if name != "__pycache__"]
            self.note([folder, *(os.path.join(folder, name) for name in names if name.endswith("yml"))])

    def note_modules(self) -> None:
        """Those of which nobody has noted how they were before they were read: imported earlier, or not Python's."""
        self.note({getattr(module, "__file__", None) or "" for module in list(sys.modules.values())})

    def changed(self) -> str:
        """A file or folder that is no longer what was imported, "" for none."""
        return next((path for path, known in self.stamps.items() if stamp(path) != known), "")


def read_defaults() -> bytes:
    """Netlab's defaults, pickled, from the package's files: a pickle of them in somebody's home is somebody's code."""
    from netsim.utils import files, read

    read.PICKLED_YAML_FILES = {}
    defaults: Any = read.read_yaml(PACKAGE_DEFAULTS)
    # As Netlab's own pickle has it.
    defaults._cache.timestamp = time.time()
    defaults._cache.source = str(files.absolute_path(PACKAGE_DEFAULTS))
    return pickle.dumps(defaults)


def use_defaults(ready: Ready) -> None:
    """Let Netlab find its defaults here, instead of in the pickle in its user's home."""
    from netsim.utils import read

    read_pickle = read.read_from_pickle

    def read_ready(path: str) -> Any:
        if path != PACKAGE_DEFAULTS:
            return read_pickle(path)
        # One who has them may change them.
        defaults, ready.unused = ready.unused, None
        return pickle.loads(ready.defaults) if defaults is None else defaults

    read.read_from_pickle = read_ready


def complain(ex: BaseException) -> None:
    print(f"netlab-worker: not held ready: {install.last_line(ex)}", file=sys.stderr, flush=True)
