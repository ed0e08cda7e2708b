"""The options of a lab: those that were asked for, and those that a restart keeps."""

from __future__ import annotations

import contextlib
import os
from netlab_driver import files, identity, state
from netlab_driver.failure import Failure

MULTILAB = "defaults.multilab.id="


def arguments(command: dict) -> list:
    """Netlab's arguments of a command that names its topology."""
    topology = str(command.get("topology") or "")
    if topology.startswith("-"):
        topology = f"./{topology}"  # not an option
    return [*(command.get("args") or []), *([topology] if topology else [])]


def restarted(lab: state.Lab, command: dict) -> list:
    """The arguments of the up of a restart: what the request does not give is as it was."""
    options = list(command.get("args") or [])
    if not command.get("given"):
        options += options_of(lab)
    return arguments({"args": options, "topology": command.get("topology") or topology_of(lab)})


def options_of(lab: state.Lab) -> list:
    """The options that the lab was made with. Of one that was made by hand: its plugins, provider and multilab id."""
    if lab.manifest:
        args = [str(arg) for arg in lab.manifest.get("args") or []]
        return args[: operand(args)]
    if not lab.snapshot:
        return []
    written = read(topology_of(lab))
    own = written.get("plugin") or []
    plugins = [str(plugin) for plugin in identity.value(lab.snapshot, "plugin") or []]
    options = [f"--plugin={plugin}" for plugin in plugins if plugin not in ([own] if isinstance(own, str) else own)]
    provider = lab.snapshot["provider"]
    if provider != written.get("provider"):
        options.append(f"--provider={provider}")
    if "multilab" in plugins and lab.instance.isdecimal():
        options += ["-s", f"{MULTILAB}{lab.instance}"]
    return options


def read(path: str) -> dict:
    """The topology as it is written, {} where it cannot be read."""
    import yaml

    with contextlib.suppress(OSError, ValueError, yaml.YAMLError), files.opened(path, "r") as f:
        data = yaml.safe_load(f)
        return data if isinstance(data, dict) else {}
    return {}


def operand(args: list) -> int:
    """Where the topology is in the arguments: at their end, if it is there at all."""
    ends_with_option = not args or args[-1].startswith("-") or (len(args) > 1 and args[-2] == "-s")
    return len(args) if ends_with_option else len(args) - 1


def topology_of(lab: state.Lab) -> str:
    """The topology that the lab was made of, relative to its directory. Raises Failure where it is not known or not there."""
    args = [str(arg) for arg in (lab.manifest or {}).get("args") or []]
    candidates = args[operand(args) :]
    sources = (identity.value(lab.snapshot, "input") or []) if lab.snapshot else []
    if sources:
        candidates += [str(sources[0]), os.path.basename(str(sources[0]))]
    candidates += ["topology.yml", "topology.yaml"]
    for path in candidates:
        if os.path.isfile(path):
            return os.path.relpath(path) if os.path.isabs(path) else path
    raise Failure(f"the topology of the lab in {lab.dir} is not found ({candidates[0]}): name it with topologyPath")

