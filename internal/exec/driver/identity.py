"""What a lab is called on its host: what two labs must not share."""

from __future__ import annotations

import glob
import os
import re
from typing import Any

DEFAULT_NETWORK = "netlab_mgmt"  # containerlab's management network where the topology has no other, as in clab.j2


def value(data: Any, *keys: str) -> Any:
    """What is below keys, None where there is nothing. Netlab's boxes would make what they are asked for with get."""
    for key in keys:
        if not isinstance(data, dict) or key not in data:
            return None
        data = data[key]
    return data


def settings(data: Any, *keys: str) -> dict:
    """The map below keys, {} where there is none."""
    found = value(data, *keys)
    return found if isinstance(found, dict) else {}


def of(topology: Any) -> dict:
    """The identity of a transformed topology: Netlab's own, in memory or as its snapshot has it."""
    provider = str(value(topology, "provider") or "")
    name = str(value(topology, "name") or "")
    prefix = value(topology, "defaults", "providers", "clab", "lab_prefix")
    own = [
        (node, data)
        for node, data in settings(topology, "nodes").items()
        if (value(data, "provider") or provider) == "clab" and not value(data, "unmanaged")
    ]
    identity: dict = {
        "instance": str(value(topology, "defaults", "multilab", "id") or "default"),
        "name": name,
        "dir": os.getcwd(),
        "provider": provider,
        "containers": [f"{prefix}-{name}-{node}" if prefix else str(node) for node, _ in own],
        "networks": [],
        "addresses": [],
        "bridges": [],
    }
    if own:
        pool = settings(topology, "addressing", "mgmt")
        identity["networks"] = [
            {
                "name": str(value(pool, "_network") or DEFAULT_NETWORK),
                "bridge": str(value(pool, "_bridge") or ""),
                "subnet": str(value(pool, "ipv4") or "172.20.20.0/24"),
            }
        ]
        addresses = [str(value(data, "mgmt", "ipv4") or "").partition("/")[0] for _, data in own]
        identity["addresses"] = [address for address in addresses if address]
    if provider == "clab":
        links = value(topology, "links") or []
        bridges = {str(value(link, "bridge") or "") for link in links if is_bridge(link)}
        identity["bridges"] = sorted(bridges - {""})
    return identity


def is_bridge(link: Any) -> bool:
    """Whether Netlab makes a bridge on the host for the link."""
    return (value(link, "node_count") or 0) > 2 and value(link, "clab", "external_bridge") is None


def providers(topology: Any) -> set:
    """Every provider that the lab's nodes use."""
    own = str(value(topology, "provider") or "")
    return {str(value(data, "provider") or own) for data in settings(topology, "nodes").values()} | {own}


def tools(topology: Any) -> list:
    """The containers of the lab's tools, as Netlab names them."""
    lab = str(value(topology, "name") or "")
    found = []
    for tool, own in settings(topology, "tools").items():
        definition = {**settings(topology, "defaults", "tools", tool), **(own if isinstance(own, dict) else {})}
        up = settings(definition, str(definition.get("runtime") or "docker")).get("up")
        found += named_in(str(up), lab) or [f"{lab}_{tool}"]
    return found


def usual_tools(lab: str) -> list:
    """The containers that Netlab's own tools may have in a lab of that name, of which nothing says which it has."""
    import netsim

    found = []
    if lab:
        for path in glob.glob(f"{os.path.dirname(netsim.__file__)}/tools/*.yml"):
            with open(path, encoding="utf-8") as f:
                found += [name for name in named_in(f.read(), lab) if name.startswith(lab)]
    return found


def named_in(commands: str, lab: str) -> list:
    """The names that commands of a tool give to their containers."""
    return [name.replace("{name}", lab) for name in re.findall(r"--name[= ]+[\"']?([^\s\"',]+)", commands)]
