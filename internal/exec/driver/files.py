"""The files that Netlab, containerlab and the driver make in a working directory."""

from __future__ import annotations

import contextlib
import errno
import glob
import os
import shutil
import stat
from typing import Any

from netlab_driver import identity

SNAPSHOT = "netlab.snapshot.pickle"
SNAPSHOT_YAML = "netlab.snapshot.yml"
LOCK = "netlab.lock"
MANIFEST = ".netlab-inputs.json"
CLAB = "clab.yml"
# What the worker has drawn of the lab.
GRAPHS = tuple(f"netlab.graph{kind}.svg{draft}" for kind in ("", "-bgp", "-isis") for draft in ("", ".new"))
# What Netlab's own cleanup removes without asking whose it is.
GENERATED = (
    SNAPSHOT, SNAPSHOT_YAML, LOCK, MANIFEST, CLAB, "clab-augment.yml", "clab_files", "external.txt", "hosts.yml",
    "ansible.cfg", "group_vars", "host_vars", "node_files", "config", *GRAPHS,
)
# Of these one is enough to say that Netlab was here; the others of GENERATED may be somebody's own.
TRACES = (SNAPSHOT, SNAPSHOT_YAML, LOCK, MANIFEST, CLAB, "external.txt", "node_files")


def lab_folders() -> list:
    """The folders clab-<name> of containerlab's."""
    found = []
    for name in glob.glob("clab-*"):
        if os.path.isdir(name) and not os.path.islink(name):
            if any(os.path.exists(f"{name}/{file}") for file in ("ansible-inventory.yml", "topology-data.json", "authorized_keys")):
                found.append(name)
            elif not os.listdir(name):
                found.append(name)
    return sorted(found)


def drafts() -> list:
    """What a driver that was killed left of files that it was about to write."""
    return sorted(name for file in (MANIFEST, SNAPSHOT_YAML) for name in glob.glob(f"{file}.*.tmp"))


def traces() -> list:
    """What says that there is or was a lab here."""
    return [name for name in TRACES if os.path.lexists(name)] + lab_folders() + drafts()


def generated(snapshot: Any, manifest: Any, name: str) -> list:
    """Everything in the working directory that was generated, as far as can be told."""
    names = {*GENERATED, *lab_folders(), *drafts(), "__pycache__"}
    if name:
        names.add(f"clab-{name}")
    if isinstance(manifest, dict):
        names.update(str(file) for file in manifest.get("generated") or [])
        names.update(pycache(file) for file in manifest.get("files") or {} if str(file).endswith(".py"))
    if isinstance(snapshot, dict):
        defaults = snapshot.get("defaults") or {}
        for provider in identity.providers(snapshot):
            names.update(listed(identity.settings(defaults, "providers", provider).get("cleanup")))
        for value in identity.settings(snapshot, "_cleanup").values():
            names.update(listed(value))
        names.update(str(tool) for tool in snapshot.get("tools") or {})
    return sorted(file for file in names if inside(file) and os.path.lexists(file))


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
            if os.path.isdir(name) and not os.path.islink(name):
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
