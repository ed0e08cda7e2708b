"""The options of a lab: those that were asked for, and those that a restart keeps."""

from __future__ import annotations

import contextlib
import os
from typing import Any

from netlab_driver import files, identity, inputs, state
from netlab_driver.failure import Failure

PLUGIN = "--plugin="
MULTILAB = "defaults.multilab.id="


def arguments(command: dict) -> list:
    """Netlab's arguments of a command that names its topology."""
    topology = str(command.get("topology") or "")
    if topology.startswith("-"):
        topology = f"./{topology}"  # not an option
    return [*(command.get("args") or []), *([topology] if topology else [])]


def wants_id(topology: Any) -> bool:
    """Whether a topology that was read, and is not transformed yet, has the plugin multilab and no id."""
    plugins = names(identity.value(topology, "plugin")) + names(identity.value(topology, "defaults", "plugin"))
    return "multilab" in plugins and identity.value(topology, "defaults", "multilab", "id") is None


def names(plugins: Any) -> list:
    """The plugins that a topology names, one or a list of them."""
    return [plugins] if isinstance(plugins, str) else list(plugins or [])


def restarted(lab: state.Lab, command: dict) -> list:
    """The arguments of the up of a restart: what the request does not give is as it was."""
    options = merged(command.get("args") or [], options_of(lab))
    return arguments({"args": options, "topology": command.get("topology") or topology_of(lab)})


def merged(asked: list, kept: list) -> list:
    """The options that a request asks for, each that it does not name as it is kept.

    A request that names plugins names all of them but multilab, which goes with the id.
    """
    plugins, number, _ = split(asked)
    old, old_number, rest = split(kept)
    if not set(plugins) - {"multilab"}:
        plugins = old + [plugin for plugin in plugins if plugin not in old]
    elif "multilab" in old and "multilab" not in plugins:
        plugins.append("multilab")
    number = number or old_number
    return [f"{PLUGIN}{plugin}" for plugin in plugins] + rest + (["-s", f"{MULTILAB}{number}"] if number else [])


def split(options: list) -> tuple:
    """The plugins of the options, their multilab id ("" for none), which is all that -s is used for, and the rest."""
    plugins = [option[len(PLUGIN) :] for option in options if option.startswith(PLUGIN)]
    numbers = [option[len(MULTILAB) :] for option in options if option.startswith(MULTILAB)]
    rest = [option for option in options if option != "-s" and not option.startswith((PLUGIN, MULTILAB))]
    return plugins, numbers[-1] if numbers else "", rest


def manifest_of(lab: state.Lab) -> dict:
    """The manifest of the lab that is there: {} where a netlab that was started by hand has made it."""
    manifest = lab.manifest or {}
    return {} if lab.snapshot and not inputs.is_current(manifest) else manifest


def restore_settings(lab: state.Lab) -> None:
    """Set what the lab had of its plugins, provider and multilab id from the environment, where the job does not set it."""
    for name, value in (manifest_of(lab).get("kept") or {}).items():
        os.environ.setdefault(name, value)


def options_of(lab: state.Lab) -> list:
    """The options that the lab was made with. Of one that was made by hand: its plugins, provider and multilab id."""
    manifest = manifest_of(lab)
    if manifest:
        args = [str(arg) for arg in manifest.get("args") or []]
        return args[: operand(args)]
    if not lab.snapshot:
        return []
    written = read(topology_of(lab))
    own = names(written.get("plugin"))
    plugins = [str(plugin) for plugin in identity.value(lab.snapshot, "plugin") or []]
    options = [f"{PLUGIN}{plugin}" for plugin in plugins if plugin not in own]
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
    args = [str(arg) for arg in manifest_of(lab).get("args") or []]
    candidates = args[operand(args) :]
    sources = (identity.value(lab.snapshot, "input") or []) if lab.snapshot else []
    if sources:
        candidates += [str(sources[0]), os.path.basename(str(sources[0]))]
    candidates += ["topology.yml", "topology.yaml"]
    for path in candidates:
        if os.path.isfile(path):
            return os.path.relpath(path) if os.path.isabs(path) else path
    raise Failure(f"the topology of the lab in {lab.dir} is not found ({candidates[0]}): name it with topologyPath")

