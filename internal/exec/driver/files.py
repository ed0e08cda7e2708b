"""The files that Netlab, containerlab and the driver make in a working directory."""

from __future__ import annotations

import contextlib
import errno
import glob
import json
import os
import shutil
import stat
from pathlib import PurePath
from typing import Any

from netlab_driver import identity

SNAPSHOT = "netlab.snapshot.pickle"
SNAPSHOT_YAML = "netlab.snapshot.yml"
LOCK = "netlab.lock"
DATA_LIMIT = 16 << 20  # bytes of a file of containerlab's
MANIFEST = ".netlab-inputs.json"
CLAB = "clab.yml"
TOPOLOGIES = (CLAB, "clab-augment.yml")  # what Netlab starts containerlab with
# What only Netlab and the driver make: one is enough to say that there is or was a lab.
PROOF = (SNAPSHOT, SNAPSHOT_YAML, LOCK, MANIFEST)
# What else Netlab's own cleanup removes without asking whose it is. Without a proof it may be somebody's own.
LIKELY = (*TOPOLOGIES, "clab_files", "external.txt", "hosts.yml", "ansible.cfg", "group_vars", "host_vars", "node_files", "config")
# What the worker has drawn of the lab.
GRAPHS = tuple(f"netlab.graph{kind}.svg{draft}" for kind in ("", "-bgp", "-isis") for draft in ("", ".new"))
GENERATED = (*PROOF, *LIKELY, *GRAPHS)


def lab_folders() -> list:
    """The folders clab-<name> that containerlab made for labs of Netlab's."""
    found = []
    for name in glob.glob("clab-*"):
        if not os.path.isdir(name) or os.path.islink(name) or made_of(name) not in ("", *TOPOLOGIES):
            continue
        with contextlib.suppress(OSError):  # somebody else's, which cannot be looked into
            there = set(os.listdir(name))
            if not there or there & {"ansible-inventory.yml", "topology-data.json", "authorized_keys"}:
                found.append(name)
    return sorted(found)


def made_of(folder: str) -> str:
    """The name of the file that a folder of containerlab's was made of, "" where it does not say."""
    with contextlib.suppress(OSError, ValueError, RecursionError), opened(f"{folder}/topology-data.json", "r") as f:
        for node in identity.settings(json.loads(f.read(DATA_LIMIT)), "nodes").values():
            file = identity.value(node, "labels", "clab-topo-file")
            if file:
                return os.path.basename(str(file))
    return ""


def drafts() -> list:
    """What a driver that was killed left of files that it was about to write."""
    return sorted(name for file in (MANIFEST, SNAPSHOT_YAML) for name in glob.glob(f"{file}.*.tmp"))


def traces() -> list:
    """What says that there is or was a lab here."""
    return [name for name in PROOF if os.path.lexists(name)] + lab_folders() + drafts()


def is_stale(name: str, source: str) -> bool:
    """Whether the file is not there, is no file, or is older than the one that it is made of."""
    try:
        made = os.lstat(name)
        return not stat.S_ISREG(made.st_mode) or made.st_mtime_ns < os.stat(source).st_mtime_ns
    except OSError:
        return True


def doubtful() -> list:
    """What Netlab may have made, where nothing else says that it was here."""
    return [name for name in LIKELY if os.path.lexists(name)]


def recorded(manifest: dict) -> set:
    """What the manifest says was generated: files, and the folders that were made anew, with all that is in them by now.

    Any other folder was there before, or may have been: an earlier version of this driver named those as well.
    """
    folders = set(listed(manifest.get("folders")))
    return {name for name in listed(manifest.get("generated")) if name in folders or not is_folder(name)}


def is_in(name: str, folders: Any) -> bool:
    """Whether the relative path names something in one of the folders."""
    return any(str(parent) in folders for parent in PurePath(name).parents)


def is_folder(name: str) -> bool:
    return os.path.isdir(name) and not os.path.islink(name)


def generated(snapshot: Any, manifest: dict, name: str, proven: bool, kept: list) -> list:
    """Everything in the working directory that was generated, as far as can be told. proven: it is known that a lab was here.

    kept are files and folders that stay, and so does what they are in.
    """
    names = {*lab_folders(), *drafts(), *GRAPHS}
    if proven:
        names.update(GENERATED, ("__pycache__",))
    if name:
        names.add(f"clab-{name}")
    names.update(recorded(manifest))
    names.update(pycache(file) for file in identity.settings(manifest, "files") if file.endswith(".py"))
    if isinstance(snapshot, dict):
        defaults = snapshot.get("defaults") or {}
        for provider in identity.providers(snapshot):
            names.update(listed(identity.settings(defaults, "providers", provider).get("cleanup")))
        for value in identity.settings(snapshot, "_cleanup").values():
            names.update(listed(value))
        names.update(str(tool) for tool in snapshot.get("tools") or {})
    return sorted(file for file in names if inside(file) and os.path.lexists(file) and not any(holds(file, path) for path in kept))


def holds(folder: str, path: str) -> bool:
    """Whether the path is that folder, or something in it."""
    real = os.path.realpath(folder)
    return os.path.commonpath([real, os.path.realpath(path)]) == real


def pycache(file: str) -> str:
    folder = os.path.dirname(file)
    return os.path.join(os.path.relpath(folder) if folder else "", "__pycache__")


def listed(value: Any) -> list:
    return [str(item) for item in value] if isinstance(value, list) else [value] if isinstance(value, str) else []


def opened(path: str, mode: str = "rb") -> Any:
    """Open a regular file to read it. Never waits for a pipe that somebody has put in its place. Raises OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise OSError(errno.EINVAL, "not a regular file", path)
        return open(fd, mode, encoding=None if "b" in mode else "utf-8")
    except BaseException:
        os.close(fd)
        raise


def inside(file: str) -> bool:
    """Whether the relative path names something below the working directory, by its words and by its links."""
    clean = os.path.normpath(file)
    if not file or os.path.isabs(clean) or clean in (".", "..") or clean.startswith("../"):
        return False
    here = os.getcwd()
    return os.path.commonpath([here, os.path.realpath(os.path.dirname(os.path.join(here, clean)))]) == here


def remove(names: list) -> list:
    """Remove files and folders. Returns those that are still there, with the reason."""
    left = []
    for name in names:
        try:
            if is_folder(name):
                shutil.rmtree(name)
            else:
                os.unlink(name)
        except FileNotFoundError:
            continue
        except OSError as ex:
            left.append(f"{ex.filename or name} ({ex.strerror})")
            continue
        with contextlib.suppress(OSError):
            parent = os.path.dirname(name)
            if parent:
                os.rmdir(parent)
    return left
