"""What a lab was generated from: .netlab-inputs.json, by which the next up knows whether anything has changed."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import site
import sys
import sysconfig
from pathlib import Path
from typing import Any, Optional

from netlab_driver import files, identity, statusfile

VERSION = 1
FILE_LIMIT = 16 << 20  # bytes; a larger file is compared by its size and time alone
SCAN_LIMIT = 5000  # files of a working directory that are looked at
SOURCES = (".yml", ".yaml", ".py", ".j2")
KEPT = ("NETLAB_PLUGIN", "NETLAB_PROVIDER", "NETLAB_MULTILAB_ID")  # settings that a restart keeps
FOREIGN = ("/usr/", "/proc/", "/sys/", "/dev/", "/run/", "/lib", "/bin/", "/var/lib/")


class Watch:
    """Notes which files this process reads and writes. An audit hook cannot be taken away, only told to be idle.

    record is what the working directory's manifest has: what was generated before is still generated.
    """

    def __init__(self, record: dict) -> None:
        self.active = False
        self.begun = False
        self.read: dict = {}
        self.written: set = set()
        self.made = files.recorded(record)  # files and folders that were not there before, relative to the working directory
        self.folders = set(files.listed(record.get("folders")))  # the folders of them
        self.absent: set = set()  # files that were searched for and not found
        self.patterns: set = set()  # of files that were searched for
        self.here = os.getcwd()
        home = os.path.expanduser("~/.netlab")
        self.users = os.path.realpath(home)  # Netlab's files of all the user's labs
        self.foreign = (*(f"{folder}/" for folder in installed()), *FOREIGN)
        self.skipped = {f"{home}/{name}" for name in ("stats.json", "stats.json.lock", "topology-defaults.pickle")}
        sys.addaudithook(self.hook)

    def hook(self, event: str, args: tuple) -> None:
        if not self.active:
            return
        if event == "open":
            path, mode, flags = args
            if isinstance(path, (str, bytes)):
                writes = any(c in mode for c in "wax+") if mode else bool((flags or 0) & (os.O_WRONLY | os.O_RDWR))
                note = self.note_write if writes else self.note_read
                note(os.path.abspath(os.fsdecode(path)))
        elif event == "os.mkdir" and isinstance(args[0], (str, bytes)):
            self.note_write(os.path.abspath(os.fsdecode(args[0])), folder=True)

    def note_write(self, path: str, folder: bool = False) -> None:
        """Note what is about to be written. What is there already is the user's, unless an earlier run made it."""
        if not path.startswith(f"{self.here}/") or files.holds(self.users, path):
            return
        self.written.add(path)
        name = path[len(self.here) + 1 :]
        if name in self.made or os.path.lexists(path) or files.is_in(name, self.folders):
            return
        self.made.add(name)
        if folder:
            self.folders.add(name)
        if self.begun:
            self.save()

    def begin(self) -> None:
        """Leave a manifest of nothing but what is generated, and keep it up to date: the run may be broken off."""
        self.begun = True
        self.save()

    def save(self) -> None:
        active, self.active = self.active, False
        try:
            save({"generated": sorted(self.made), "folders": sorted(self.folders)}, self.here)
        finally:
            self.active = active

    def note_search(self, paths: list) -> None:
        """Note what is not there of the paths, of which Netlab takes the first that is."""
        for path in map(os.path.abspath, paths):
            if os.path.exists(path):
                return
            if not self.is_foreign(path):
                self.absent.add(path)

    def note_pattern(self, pattern: str) -> None:
        pattern = os.path.abspath(pattern)
        if not self.is_foreign(pattern):
            self.patterns.add(pattern)

    def is_foreign(self, path: str) -> bool:
        """Whether the file is Netlab's or the system's, and not one that its users write."""
        if path.startswith(f"{self.here}/"):
            return False
        return path.startswith(self.foreign) or (path.startswith("/etc/") and not path.startswith("/etc/netlab/"))

    def note_read(self, path: str) -> None:
        if path in self.read:
            return
        folder, name = os.path.split(path)
        if os.path.basename(folder) == "__pycache__":  # the module itself was not read, because it has not changed
            path = f"{os.path.dirname(folder)}/{name.partition('.')[0]}.py"
        if path in self.skipped or self.is_foreign(path):
            return
        with contextlib.suppress(OSError):
            stat = os.stat(path)
            self.read[path] = (stat.st_size, stat.st_mtime_ns)


@functools.cache
def installed() -> set:
    """The folders of the interpreter, of what is installed for it, of Netlab, which may be elsewhere, and of this driver."""
    import netsim

    found = {sys.prefix, sys.base_prefix, sys.exec_prefix, os.path.dirname(os.path.realpath(__file__)), *sysconfig.get_paths().values()}
    found.add(os.path.dirname(netsim.__file__))
    if site.ENABLE_USER_SITE:
        found.add(site.getusersitepackages())
    return found | {os.path.realpath(folder) for folder in found}


def digest(path: str) -> str:
    """The SHA-256 of a file's content, "" for what cannot be read."""
    with contextlib.suppress(OSError), files.opened(path) as f:
        content = f.read(FILE_LIMIT + 1)
        if len(content) <= FILE_LIMIT:
            return hashlib.sha256(content).hexdigest()
    return ""


def describe(path: str, noted: tuple) -> Optional[dict]:
    """A file as the manifest has it. One that was written since Netlab read it is no longer what the lab is made of."""
    with contextlib.suppress(OSError):
        stat = os.stat(path)
        if not os.path.isfile(path):
            return None
        if (stat.st_size, stat.st_mtime_ns) == noted:
            return {"size": stat.st_size, "mtime": stat.st_mtime_ns, "sha256": digest(path)}
    return {"size": noted[0], "mtime": noted[1], "sha256": ""}


def matching(pattern: str) -> list:
    """The files that match the pattern, which has wildcards in their names alone, as Netlab finds them."""
    folder, names = os.path.split(pattern)
    return sorted(map(str, Path(folder).glob(names)))


def settings() -> str:
    """The digest of the settings that Netlab takes from the environment."""
    own = sorted(f"{name}={value}" for name, value in os.environ.items() if name.startswith("NETLAB_") and not name.startswith("NETLAB_ARGS_"))
    return hashlib.sha256("\n".join(own).encode("utf-8", "surrogateescape")).hexdigest()


def place(folder: str) -> list:
    """What a folder keeps when it is moved, and a copy of it does not have."""
    stat = os.stat(folder)
    return [stat.st_dev, stat.st_ino]


def stamp(path: str) -> list:
    with contextlib.suppress(OSError):
        stat = os.stat(path)
        return [stat.st_size, stat.st_mtime_ns]
    return []


def write(watch: Watch, topology: Any, args: list, environment: str, made_of: dict) -> None:
    """Write the manifest of the lab that was generated just now."""
    import netsim

    made = {name for name in watch.made if os.path.lexists(name) and not files.is_in(name, watch.folders)}
    read = {}
    for path, noted in watch.read.items():
        name = os.path.relpath(path)
        if path in watch.written or name in made or files.is_in(name, watch.folders):
            continue
        entry = describe(path, noted)
        if entry:
            read[path] = entry
    manifest = {
        "version": VERSION,
        "netlab": str(getattr(netsim, "__version__", "")),
        "args": args,
        "settings": environment,
        "kept": {name: os.environ[name] for name in KEPT if name in os.environ},
        "files": read,
        "absent": sorted(path for path in watch.absent if not os.path.exists(path)),
        "patterns": {pattern: matching(pattern) for pattern in watch.patterns},
        "templates": made_of,
        "identity": identity.of(topology),
        "place": place(watch.here),
        "providers": sorted(identity.providers(topology)),
        "tools": identity.tools(topology),
        "generated": sorted(made),
        "folders": sorted(made & watch.folders),
        "snapshot": stamp(files.SNAPSHOT),
    }
    save(manifest, watch.here)


def save(manifest: dict, folder: str) -> None:
    with statusfile.open_replacing(f"{folder}/{files.MANIFEST}", "w") as f:
        json.dump(manifest, f)


def read() -> dict:
    """The manifest of this directory as it is, {} where it cannot be read."""
    with contextlib.suppress(OSError, ValueError, RecursionError), files.opened(files.MANIFEST, "r") as f:
        record = json.load(f)
        return record if isinstance(record, dict) else {}
    return {}


def load(record: dict) -> Optional[dict]:
    """The manifest of a lab that was generated to the end, None where it is none."""
    whole = record.get("version") == VERSION and isinstance(record.get("identity"), dict)
    return record if whole else None


def is_current(manifest: Optional[dict]) -> bool:
    """Whether the manifest is that of the snapshot which is there: a netlab started by hand makes another one."""
    return bool(manifest) and manifest.get("snapshot") == stamp(files.SNAPSHOT)


def scan(endings: tuple) -> dict:
    """The sources in the working directory that are nobody's output, with their times."""
    found: dict = {}
    skip = {*files.GENERATED, *files.lab_folders(), "__pycache__", ".git"}
    for folder, folders, names in os.walk("."):
        depth = folder.count("/")
        folders[:] = [] if depth > 8 else [name for name in folders if name not in skip or depth]
        for name in names:
            if name.endswith(endings) and (depth or name not in skip):
                path = os.path.normpath(f"{folder}/{name}")
                with contextlib.suppress(OSError):
                    found[path] = os.stat(path).st_mtime_ns
                if len(found) >= SCAN_LIMIT:
                    return found
    return found


def templates() -> dict:
    return {path: digest(path) for path in scan((".j2",))}


def changed(manifest: dict, args: list) -> str:
    """What of the lab's sources has changed since it was generated, "" for nothing."""
    if manifest.get("args") != args:
        return "the request has other settings than the lab was made with"
    if manifest.get("settings") != settings():
        return "Netlab's settings in the environment have changed"
    for path, entry in (manifest.get("files") or {}).items():
        if not os.path.exists(path):
            return f"{shown(path)} is no longer there"
        size, mtime = stamp(path) or (-1, -1)
        if (size, mtime) != (entry.get("size"), entry.get("mtime")) and (not entry.get("sha256") or entry["sha256"] != digest(path)):
            return f"{shown(path)} has changed"
    new = {path for path in files.listed(manifest.get("absent")) if os.path.exists(path)}
    for pattern, then in identity.settings(manifest, "patterns").items():
        new.update(set(matching(pattern)) - set(files.listed(then)))
    if new:
        return f"{shown(min(new))} is new"
    now, then, made = templates(), manifest.get("templates") or {}, files.recorded(manifest)
    for path in sorted({*now, *then} - made):
        if now.get(path) != then.get(path) and not files.is_in(path, made):
            return f"the template {path} has changed"
    return ""


def shown(path: str) -> str:
    """The path as people know it."""
    return os.path.relpath(path) if path.startswith(f"{os.getcwd()}/") else path


def newer(snapshot: dict, topology: str) -> str:
    """The same of a lab that was generated by hand, by its files' times."""
    sources = [str(path) for path in snapshot.get("input") or []]
    if topology and sources and os.path.realpath(topology) != os.path.realpath(sources[0]):
        return f"the lab was made of {os.path.basename(sources[0])}"
    made = os.stat(files.SNAPSHOT).st_mtime_ns
    times = scan(SOURCES)
    for path in sources:
        if not path.startswith("package:"):
            with contextlib.suppress(OSError):
                times[path] = os.stat(path).st_mtime_ns
    late = sorted(path for path, mtime in times.items() if mtime > made)
    return f"{os.path.relpath(late[0])} is newer than the lab" if late else ""
