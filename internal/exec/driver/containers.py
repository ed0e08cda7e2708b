"""What Docker and the host have of labs, asked as Netlab asks: with docker, brctl and sudo ip."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
from typing import NamedTuple

from netlab_driver import files

PATIENCE = 60  # seconds for an answer of Docker's
FORMAT = "\t".join(
    ("{{.Names}}", '{{.Label "containerlab"}}', '{{.Label "clab-topo-file"}}', '{{.Label "clab-owner"}}', "{{.State}}", "{{.Networks}}")
)


class NoAnswer(Exception):
    """Docker cannot be asked. installed is False where there is no docker program at all."""

    def __init__(self, text: str, installed: bool = True) -> None:
        super().__init__(text)
        self.installed = installed


class Container(NamedTuple):
    name: str
    lab: str  # containerlab's name of its lab, "" for none
    topology: str  # the file that it was made from, "" for none
    owner: str  # whose lab containerlab says it is, "" where it does not
    state: str  # "running", "created", "exited", ...
    networks: tuple

    @property
    def folder(self) -> str:
        return os.path.dirname(self.topology)

    @property
    def of_netlab(self) -> bool:
        """Whether it was made from a file of Netlab's, not from one that somebody has beside a lab of Netlab's."""
        return bool(self.lab) and os.path.basename(self.topology) in files.TOPOLOGIES


def call(*words: str) -> subprocess.CompletedProcess:
    """Run a program and return its exit code and output, whatever they are. Raises OSError where it cannot be started."""
    return subprocess.run(
        words, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=PATIENCE, check=False
    )


def docker(*words: str) -> str:
    """What docker answers. Raises NoAnswer."""
    try:
        answer = call("docker", *words)
    except FileNotFoundError as ex:
        raise NoAnswer("there is no docker program on PATH", installed=False) from ex
    except subprocess.TimeoutExpired as ex:
        raise NoAnswer(f"docker {words[0]} has not answered for {PATIENCE} seconds") from ex
    except OSError as ex:
        raise NoAnswer(f"docker cannot be started: {ex.strerror}") from ex
    if answer.returncode:
        text = " ".join(answer.stderr.split()) or f"docker {words[0]} ended with exit code {answer.returncode}"
        raise NoAnswer(text[:500])
    return answer.stdout


def containers() -> list:
    """Every container of the host, also those that don't run. Raises NoAnswer."""
    found = []
    for line in docker("ps", "-a", "--no-trunc", "--format", FORMAT).splitlines():
        fields = line.split("\t")
        if len(fields) == 6:
            name, lab, topology, owner, state, networks = fields
            found.append(Container(name.split(",")[0], lab, topology, owner, state, tuple(filter(None, networks.split(",")))))
    return found


def networks() -> set:
    """The names of Docker's networks. Raises NoAnswer."""
    return set(docker("network", "ls", "--format", "{{.Name}}").split("\n")) - {""}


def made_by_containerlab(network: str) -> bool:
    try:
        labels = json.loads(docker("network", "inspect", "--format", "{{json .Labels}}", network))
    except (NoAnswer, ValueError):
        return False
    return isinstance(labels, dict) and "containerlab" in labels


def bridges() -> set:
    """The names of the host's bridges."""
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        answer = call("brctl", "show")
        if answer.returncode == 0:
            return {line.split()[0] for line in answer.stdout.splitlines()[1:] if line[:1].strip()}
    with contextlib.suppress(OSError):
        return {name for name in os.listdir("/sys/class/net") if os.path.isdir(f"/sys/class/net/{name}/bridge")}
    return set()


def has_ports(bridge: str) -> bool:
    """Whether something is still connected to the bridge. A bridge that this process cannot look into has nothing."""
    with contextlib.suppress(OSError):
        return bool(os.listdir(f"/sys/class/net/{bridge}/brif"))
    return False


def bridges_of(lab: str, known: set) -> set:
    """The bridges that are there of those that Netlab makes for links of a lab of that name."""
    pattern = re.compile(re.escape(lab[:10]) + r"_\d+")  # as netsim.augment.links names them
    return {name for name in bridges() if name in known or (lab and pattern.fullmatch(name))}


def attempt(*words: str) -> str:
    """Run a program for what it does. Returns why it failed, "" where it did not."""
    try:
        answer = call(*words)
    except subprocess.TimeoutExpired:
        return f"{' '.join(words[:3])} has not ended for {PATIENCE} seconds"
    except OSError as ex:
        return f"{words[0]} cannot be started: {ex.strerror}"
    if answer.returncode == 0:
        return ""
    return " ".join((answer.stderr or answer.stdout).split())[:500] or f"{words[0]} ended with exit code {answer.returncode}"


def remove_container(name: str) -> str:
    return attempt("docker", "rm", "-f", "-v", name)


def remove_network(name: str) -> str:
    return attempt("docker", "network", "rm", name)


def remove_bridge(name: str) -> str:
    sudo = () if os.geteuid() == 0 and not shutil.which("sudo") else ("sudo", "-n")
    return attempt(*sudo, "ip", "link", "del", "dev", name)
