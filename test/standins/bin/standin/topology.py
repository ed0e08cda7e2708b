"""containerlab's topology file, as far as the stand-in needs it."""

import os

from .invocation import Refused

# Kinds that are no containers: something of the host's that links end in.
BRIDGES = ("bridge", "ovs-bridge")
NO_CONTAINERS = BRIDGES + ("host", "macvlan")


class Topology:
    """A parsed clab.yml.

    Attributes:
        name: the lab's name.
        folder: the folder of the file, which relative paths and the lab's folder are below.
        nodes: name -> the node's map, containers only.
        bridges: the bridges that must be there.
        network, subnet: name and IPv4 subnet of the management network.
        links: pairs of "node:interface".
    """

    def __init__(self, path):
        self.path = os.path.abspath(path)
        self.folder = os.path.dirname(self.path)
        data = load(self.path)
        self.name = data["name"]
        self.prefix = data.get("prefix", "clab")
        management = data.get("mgmt") or {}
        self.network = management.get("network", "clab")
        self.subnet = management.get("ipv4-subnet", "172.20.20.0/24")
        self.bridge = management.get("bridge", "br-" + self.network[:12])
        body = data.get("topology") or {}
        every = {name: node or {} for name, node in (body.get("nodes") or {}).items()}
        self.nodes = {name: node for name, node in every.items() if node.get("kind") not in NO_CONTAINERS}
        self.bridges = [name for name, node in every.items() if node.get("kind") in BRIDGES]
        self.links = [link["endpoints"] for link in body.get("links") or [] if "endpoints" in link]

    def container(self, node):
        """The name of a node's container."""
        return f"{self.prefix}-{self.name}-{node}" if self.prefix else node

    def lab_folder(self):
        """The folder that a deployment makes."""
        return os.path.join(self.folder, "clab-" + self.name)

    def binds(self, node):
        """Path in the container -> absolute path on the host."""
        pairs = [bind.split(":")[:2] for bind in self.nodes[node].get("binds") or []]
        return {target: os.path.join(self.folder, source) for source, target in pairs}


def load(path):
    """Parse a YAML file."""
    try:
        import yaml
    except ImportError:
        raise Refused(
            "containerlab stand-in: the python3 on PATH has no PyYAML, which it needs to read clab.yml. "
            "Put the bin folder of the virtualenv that has Netlab on PATH."
        ) from None
    try:
        with open(path, encoding="utf-8") as file:
            return yaml.safe_load(file)
    except OSError as error:
        raise Refused(f"Error: failed to read topology file: stat {path}: {error.strerror.lower()}") from None
    except yaml.YAMLError as error:
        raise Refused(f"Error: failed to parse topology file {path}: {error}") from None
