"""What there is of the lab of the working directory, and what of other labs is in its way."""

from __future__ import annotations

import contextlib
import os
import pickle
import pwd
from typing import Any

from netlab_driver import containers, files, identity, inputs, install, statusfile
from netlab_driver.containers import NoAnswer
from netlab_driver.failure import enumerate_left


def load_snapshot() -> tuple:
    """The pickled topology, or None and why it cannot be used ("" where there is none)."""
    try:
        with files.opened(files.SNAPSHOT) as f:
            topology = pickle.load(f)
    except FileNotFoundError:
        return None, ""
    except Exception as ex:
        return None, f"{files.SNAPSHOT} is damaged: {install.last_line(ex)}"
    for key, kind in (("name", str), ("provider", str), ("defaults", dict), ("nodes", dict), ("_netlab_version", str)):
        if not isinstance(topology, dict) or not isinstance(topology.get(key), kind):
            return None, f"{files.SNAPSHOT} is damaged: it has no {key}"
    try:
        identity.of(topology)
    except Exception as ex:
        return None, f"{files.SNAPSHOT} is damaged: {install.last_line(ex)}"
    return topology, ""


def read_clab() -> dict:
    """Name and network of clab.yml, for where there is nothing better to know the lab by. {} where it cannot be read."""
    import yaml

    with contextlib.suppress(OSError, ValueError, yaml.YAMLError), files.opened(files.CLAB, "r") as f:
        data = yaml.load(f, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        network = identity.settings(data, "mgmt").get("network")
        nodes = identity.settings(data, "topology", "nodes")
        return {
            "instance": "",
            "name": str(data.get("name") or ""),
            "dir": os.getcwd(),
            "provider": "clab",
            "containers": [],
            "networks": [{"name": str(network), "bridge": "", "subnet": ""}] if network else [],
            "addresses": [],
            "bridges": [name for name, node in nodes.items() if isinstance(node, dict) and node.get("kind") == "bridge"],
        }
    return {}


def is_gone(path: str) -> bool:
    """Whether there is no such file or folder. One that cannot be seen may be there."""
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        pass
    return False


def is_mine(path: str) -> bool:
    """Whether the file or folder belongs to this process's user."""
    with contextlib.suppress(OSError):
        return os.stat(path).st_uid == os.geteuid()
    return False


def user_names() -> set:
    """What containerlab notes as the owner of a lab that this process's user starts. It goes by the environment."""
    names = {os.environ.get("SUDO_USER", ""), os.environ.get("USER", "")}
    with contextlib.suppress(KeyError):
        names.add(pwd.getpwuid(os.geteuid()).pw_name)
    return names | {""}


def is_busy(folder: str) -> bool:
    """Whether a netlab is at work in that folder."""
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            if os.readlink(f"/proc/{pid}/cwd") == folder:
                with open(f"/proc/{pid}/cmdline", "rb") as f:
                    if b"netlab" in f.read(4096):
                        return True
    return False


class Lab:
    """The lab of the working directory, as it was found."""

    def __init__(self) -> None:
        self.dir = os.getcwd()
        self.snapshot, self.fault = load_snapshot()
        self.record = inputs.read()  # the manifest, also that of a run that was broken off
        self.manifest = inputs.load(self.record)
        self.locked = os.path.lexists(files.LOCK)
        self.traces = files.traces()
        self.identity: dict = identity.of(self.snapshot) if self.snapshot else (self.manifest or {}).get("identity") or {}
        self.made = str(((self.manifest or {}).get("identity") or {}).get("dir") or "")  # where the lab was generated
        self.entries = statusfile.labs()
        self.silence = ""  # why Docker has not answered
        self.docker = True  # whether there is a docker to ask
        self.containers: list = []
        self.foreign: list = []  # containers of another lab that has this one's name
        self.strangers: list = []  # containers of somebody else's lab, which was started in a directory of this path
        self.all: list = []
        try:
            self.all = containers.containers()
        except NoAnswer as ex:
            self.silence, self.docker = str(ex), ex.installed
        here = [c for c in self.all if c.of_netlab and os.path.realpath(c.folder) == self.dir]
        if not self.identity and (self.traces or here):
            self.identity = read_clab()
        self._sort(here)
        if not self.identity and self.containers:
            self.identity = {"name": self.containers[0].lab, "dir": self.dir, "provider": "clab"}
            self.foreign = [c for c in self.all if c.lab == self.name and c not in self.containers]
        self.here = [key for key, entry in self.entries.items() if self._is_here(key, entry)]
        self.networks: list = []
        self.shared: dict = {}  # networks of this lab that somebody else's container uses, and one such container
        self.bridges: list = []
        if self.name and not self.silence and not self.foreign:
            self._find_networks()

    @property
    def name(self) -> str:
        return str(self.identity.get("name") or "")

    @property
    def instance(self) -> str:
        return str(self.identity.get("instance") or "")

    def _sort(self, here: list) -> None:
        """Which containers are this lab's: those made here, those of a lab that was moved here, and its tools."""
        for container in self.all:
            if container in here and not self._is_own(container):
                self.strangers.append(container)
            elif container in here or (container.of_netlab and container.lab == self.name and self._moved_from(container.folder)):
                self.containers.append(container)
            elif container.lab and container.lab == self.name:
                self.foreign.append(container)
        if not self.foreign and not self.strangers:
            tools = self._tools()
            self.containers += [container for container in self.all if not container.lab and container.name in tools]

    def _tools(self) -> list:
        """The names of the containers that the lab's tools have."""
        if self.snapshot:
            return identity.tools(self.snapshot)
        if self.manifest and self.manifest.get("tools") is not None:
            return self.manifest["tools"]
        return identity.usual_tools(self.name or next((container.lab for container in self.containers), ""))

    def _is_own(self, container: Any) -> bool:
        """Whether a container that was made in a directory of this path is of the lab that is here.

        That of somebody else is, if this is still the directory that it was started in: it was given to the job's user, or
        root has worked in it. Where such containers run, nobody can make a lab of their names here.
        """
        known = self.locked or container.name in (self.identity.get("containers") or [])
        return container.owner in user_names() or (known and self.made in ("", self.dir))

    def _moved_from(self, folder: str) -> bool:
        """Whether the lab that is here was started in that folder. A lab of that name alone may be anybody's."""
        if not self.traces:
            return False
        if not self.made:  # somebody has started it by hand, or has removed the manifest
            return is_gone(folder) and any(str(k) == self.instance and entry.get("dir") == folder for k, entry in self.entries.items())
        if self.made != folder or self.is_copy():
            return False
        left = is_gone(f"{folder}/{files.LOCK}") and (is_gone(f"{folder}/{files.CLAB}") or not is_mine(folder))
        return is_gone(folder) or (self.locked and left)

    def is_copy(self) -> bool:
        """Whether the lab was generated in another directory, of which this is a copy. An older manifest does not tell."""
        place = (self.manifest or {}).get("place")
        return bool(place) and self.made != self.dir and place != inputs.place(self.dir)

    def _is_here(self, key: Any, entry: dict) -> bool:
        """Whether the status entry is this lab's: of this directory, or of where the lab was before it was moved here."""
        folder = str(entry.get("dir") or "")
        if not folder or os.path.realpath(folder) == self.dir:
            return bool(folder)
        if str(key) != self.instance or self.foreign:
            return False
        if folder == self.made:
            return self._moved_from(folder)
        return is_gone(folder) and any(container.lab and container.folder == folder for container in self.containers)

    def _find_networks(self) -> None:
        """The networks and bridges that are there because of this lab, and that nobody else uses."""
        if self.strangers:
            return
        known = {str(network.get("name")) for network in self.identity.get("networks") or []}
        known.update(network for container in self.containers if container.lab for network in container.networks)
        mine = {container.name for container in self.containers}
        used = {network for container in self.all if container.name not in mine for network in container.networks}
        self.shared = {}
        for network in known & used:
            self.shared[network] = next(c.name for c in self.all if c.name not in mine and network in c.networks)
        if known - used:
            with contextlib.suppress(NoAnswer):
                there = containers.networks()
                self.networks = sorted(name for name in (known & there) - used if containers.made_by_containerlab(name))
        if self.identity.get("provider") == "clab" or any(container.lab for container in self.containers):
            labs = {self.name, *(container.lab for container in self.containers if container.lab)}
            bridges = {str(name) for name in self.identity.get("bridges") or []}
            self.bridges = sorted({name for lab in labs for name in containers.bridges_of(lab, bridges)})

    def remember(self, *earlier: Lab) -> None:
        """Look for networks and bridges of a lab of which nothing else may be left, as it was seen earlier."""
        if self.silence or self.foreign or any(lab.foreign for lab in earlier):
            return
        self.identity = dict(self.identity or next((lab.identity for lab in earlier if lab.identity), {}))
        for kind in ("networks", "bridges"):
            self.identity[kind] = [item for lab in (self, *earlier) for item in lab.identity.get(kind) or []]
        for lab in earlier:
            self.identity["networks"] += [{"name": name} for name in lab.networks]
            self.identity["networks"] += [{"name": name} for container in lab.containers if container.lab for name in container.networks]
            self.identity["bridges"] += lab.bridges
        self._find_networks()

    @property
    def providers(self) -> set:
        if self.snapshot:
            return identity.providers(self.snapshot)
        return set((self.manifest or {}).get("providers") or ([self.identity["provider"]] if self.identity.get("provider") else []))

    def left(self) -> dict:
        """What runs or exists of the lab outside its directory."""
        return {
            "container": sorted(container.name for container in self.containers),
            "network": self.networks,
            "bridge": [name for name in self.bridges if self.containers or not containers.has_ports(name)],
        }

    def is_there(self) -> bool:
        """Whether anything of the lab is up, or might be."""
        return self.locked or bool(self.here) or any(self.left().values())

    def unknown(self) -> str:
        """Why it is not known whether containers of this lab are there: Docker does not say. "" where it is known."""
        if not self.silence:
            return ""
        if self.providers and "clab" not in self.providers:
            return ""
        if not self.traces and not self.here:  # a lab of which only containers are left would not be seen, see caution
            return ""
        if not self.docker and "clab" not in self.providers and not self.locked:
            return ""
        return (
            f"Docker cannot be asked what there is of the lab in {self.dir} ({self.silence}): start Docker, "
            "or let the job's user use it, and submit the job again"
        )

    def caution(self) -> str:
        """What else there may be, where nothing was found and Docker does not say, "" for nothing."""
        if not self.silence or not self.docker or self.traces:
            return ""
        return f"Docker cannot be asked ({self.silence}): containers of a lab whose files were all deleted would not be seen"

    def is_complete(self) -> bool:
        """Whether the lab is started, and all of it runs."""
        if not self.locked or not self.snapshot or self.foreign:
            return False
        own = [self.entries[key] for key in self.here if str(key) == self.instance]
        if not own or not str(own[0].get("dir")) == self.dir:
            return False
        status = str(own[0].get("status") or "")
        if status != "started" and not (status.startswith("conflict") and any(str(line).endswith(": started") for line in own[0].get("log") or [])):
            return False
        running = {container.name for container in self.containers if container.state == "running"}
        return set(self.identity["containers"]) <= running

    def moved(self) -> str:
        """The folder that the lab was started in, if it is another one, else ""."""
        folders = [str(self.entries[key].get("dir") or "") for key in self.here if str(key) == self.instance]
        folders += [container.folder for container in self.containers if container.lab]
        return next((folder for folder in folders if folder and os.path.realpath(folder) != self.dir), "")

    def missing(self) -> list:
        """The generated files that are not there any more."""
        known = (self.manifest or {}).get("generated") or ([files.CLAB] if "clab" in self.providers else [])
        return [name for name in known if not os.path.lexists(name)]

    def summary(self) -> str:
        """What there is, for people."""
        parts = [text for text in (enumerate_left(self.left()),) if text]
        parts += [f"the status entry {key}" for key in self.here]
        parts += [files.LOCK] if self.locked else []
        return "; ".join(parts)


def rivals(lab: Lab, instance: str) -> list:
    """The directories of other labs that have that id in the same status file: Netlab starts one only."""
    dead = ghosts(lab, instance)
    return [
        str(entry.get("dir"))
        for key, entry in lab.entries.items()
        if str(key) == instance and key not in lab.here and key not in dead
    ]


def ghosts(lab: Lab, instance: str) -> list:
    """The entries of that id which belong to no lab: nothing is there, nobody works there. They would refuse an up."""
    found = []
    for key, entry in lab.entries.items():
        folder = str(entry.get("dir") or "")
        if str(key) != instance or key in lab.here:
            continue
        if any(container.lab and os.path.realpath(container.folder) == os.path.realpath(folder) for container in lab.all):
            continue
        if is_gone(folder) or not folder:
            found.append(key)
        elif is_gone(f"{folder}/{files.LOCK}") and not is_busy(folder) and (not entry.get("status") or is_over(lab, entry, folder)):
            found.append(key)
    return found


def is_over(lab: Lab, entry: dict, folder: str) -> bool:
    """Whether the lab of an entry was taken down without it, by somebody who could not write this status file."""
    containers_only = set(files.listed(entry.get("providers"))) <= {"clab", "external"}
    return containers_only and not lab.silence and is_gone(f"{folder}/{files.SNAPSHOT}")


