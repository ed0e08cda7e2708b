"""The containerlab stand-in: version, deploy, destroy, inspect."""

import ipaddress
import json
import os
import shutil
import time

from . import state, table
from .invocation import Refused
from .topology import Topology

VERSION = "0.75.0"
WITH_VALUE = {"-t": "topo", "--topo": "topo", "--name": "name", "-f": "format", "--format": "format",
              "--log-level": "log", "--runtime": "runtime", "-r": "runtime", "--timeout": "timeout"}
FLAGS = {"--reconfigure": "reconfigure", "-c": "reconfigure", "--cleanup": "cleanup", "--all": "all", "-a": "all"}
ALIASES = {"dep": "deploy", "des": "destroy", "ins": "inspect"}


def parse(args):
    """The command and its options."""
    words, options = [], {}
    rest = list(args)
    while rest:
        word, equals, value = rest.pop(0).partition("=")
        if word in WITH_VALUE:
            options[WITH_VALUE[word]] = value if equals else (rest.pop(0) if rest else "")
        elif word in FLAGS:
            # Behind a command -c is "reconfigure" for deploy and "cleanup" for destroy.
            short_cleanup = word == "-c" and words[:1] in (["destroy"], ["des"])
            options["cleanup" if short_cleanup else FLAGS[word]] = True
        elif word.startswith("-"):
            options[word.lstrip("-")] = value if equals else True
        else:
            words.append(word)
    return ALIASES.get(words[0], words[0]) if words else "", options


def step(args):
    """The words that name the command."""
    command, _ = parse(args)
    return [command] if command else []


def main(call):
    """Run the command and return its exit code."""
    command, options = parse(call.args)
    if command == "deploy":
        return deploy(call, options)
    if command == "destroy":
        return destroy(call, options)
    call.hold()
    if command == "version":
        call.out(f"""
    version: {VERSION}
     commit: 0000000
       date: 2026-01-01T00:00:00Z
     source: https://github.com/srl-labs/containerlab
 rel. notes: https://containerlab.dev/rn/{VERSION.rsplit('.', 1)[0]}/
""")
        return 0
    if command == "inspect":
        return inspect(call, options)
    raise Refused(f'Error: unknown command "{command}" for "containerlab"')


def log(call, level, text):
    """A line of containerlab's log, on standard error."""
    call.err(f"{time.strftime('%H:%M:%S')} {level} {text}\n")


def deploy(call, options):
    """Make the containers, take the knob's time, start them.

    An interrupt in between leaves them created; the knob's "late" lets them come up so many seconds later all the
    same, as the Docker engine finishes what it was asked for.
    """
    topology = Topology(options.get("topo", "clab.yml"))
    log(call, "INFO", f"Containerlab started version={VERSION}")
    log(call, "INFO", f"Parsing & checking topology file={os.path.basename(topology.path)}")
    check_binds(topology)
    count = int(call.knob.get("partial", 0))
    nodes = list(topology.nodes)[:count] if call.fails() else list(topology.nodes)
    try:
        with state.change() as host:
            prepare(call, host, topology, options)
        for node in nodes:
            with state.change() as host:
                log(call, "INFO", f"Creating container name={node}")
                host["containers"][topology.container(node)] = new_container(host, topology, node)
        start(topology, nodes[:count])
        call.hold()
        start(topology, nodes)
    except KeyboardInterrupt:
        if "late" in call.knob:
            with state.change() as host:
                for container in of_lab(host, topology.name):
                    container.setdefault("startsAt", time.time() + call.knob["late"])
        raise Refused("Error: context canceled") from None
    for one, other in topology.links:
        log(call, "INFO", f"Created link: {one} ▪┄┄▪ {other}")
    for node in nodes:
        for command in topology.nodes[node].get("exec") or []:
            log(call, "INFO", f'Executed command node={topology.container(node)} command="{command}" stdout=""')
    log(call, "INFO", "Adding host entries path=/etc/hosts")
    show(call, of_lab(state.read(), topology.name), options)
    return 0


def check_binds(topology):
    """Every bind's source must be there."""
    for node in topology.nodes:
        for source in topology.binds(node).values():
            if not os.path.exists(source):
                raise Refused(f"Error: failed to verify bind path: stat {source}: no such file or directory")


def prepare(call, host, topology, options):
    """Check what is there on the host, remove the lab of the same name, make network and folder."""
    for bridge in topology.bridges:
        if bridge not in host["bridges"]:
            raise Refused(f'Error: Bridge "{bridge}" referenced in topology but does not exist')
    old = of_lab(host, topology.name)
    if old and not options.get("reconfigure"):
        names = " ".join(container["name"] for container in old)
        raise Refused(
            f"Error: containers [{names}] already exist. Add '--reconfigure' flag to the deploy command to first "
            "remove the containers and then deploy the lab"
        )
    remove(call, host, old)
    if options.get("reconfigure"):
        shutil.rmtree(topology.lab_folder(), ignore_errors=True)
    make_network(call, host, topology)
    log(call, "INFO", f"Creating lab directory path={topology.lab_folder()}")
    os.makedirs(topology.lab_folder(), exist_ok=True)
    inventory = "".join(f"        {topology.container(node)}:\n" for node in topology.nodes)
    with open(os.path.join(topology.lab_folder(), "ansible-inventory.yml"), "w", encoding="utf-8") as file:
        file.write(f"all:\n  children:\n    linux:\n      hosts:\n{inventory}")
    made_of = {node: {"labels": {"clab-topo-file": topology.path}} for node in topology.nodes}
    with open(os.path.join(topology.lab_folder(), "topology-data.json"), "w", encoding="utf-8") as file:
        json.dump({"name": topology.name, "type": "clab", "nodes": made_of}, file)
    host["labs"][topology.name] = {"topology": topology.path, "folder": topology.lab_folder()}


def make_network(call, host, topology):
    """Make the management network, unless it is there; two networks can't overlap."""
    if topology.network in host["networks"]:
        return
    subnet = ipaddress.ip_network(topology.subnet, strict=False)
    for name, network in host["networks"].items():
        if subnet.overlaps(ipaddress.ip_network(network["subnet"], strict=False)):
            raise Refused(
                "Error: Error response from daemon: invalid pool request: Pool overlaps with other one on this "
                f"address space ({topology.network} {subnet}: {name} {network['subnet']})"
            )
    log(call, "INFO", f'Creating docker network name={topology.network} IPv4 subnet={subnet} IPv6 subnet="" MTU=0')
    host["networks"][topology.network] = {"subnet": str(subnet), "bridge": topology.bridge, "created": time.time()}


def new_container(host, topology, node):
    """A container in state "created"; its address must be free."""
    data = topology.nodes[node]
    address = data.get("mgmt-ipv4", "")
    for other in host["containers"].values():
        if address and other["network"] == topology.network and other["address"] == address:
            raise Refused(
                f'Error: failed deploy stage for node "{node}": Error response from daemon: Address already in use '
                f"({address}: {other['name']})"
            )
    return {
        "name": topology.container(node),
        "lab": topology.name,
        "node": node,
        "kind": data.get("kind", ""),
        "image": data.get("image", ""),
        "state": "created",
        "created": time.time(),
        "topology": topology.path,
        "owner": os.environ.get("SUDO_USER") or os.environ.get("USER", ""),
        "network": topology.network,
        "address": address,
        "binds": topology.binds(node),
        "files": {},
        "configured": [],
    }


def start(topology, nodes):
    """Containers of these nodes run from now on."""
    if not nodes:
        return
    with state.change() as host:
        for node in nodes:
            container = host["containers"].get(topology.container(node))
            if container and container["state"] != "running":
                state.start(container)


def of_lab(host, lab):
    """A lab's containers, by name."""
    containers = sorted(host["containers"].values(), key=lambda container: container["name"])
    return [container for container in containers if container["lab"] == lab]


def remove(call, host, containers):
    """Remove containers."""
    for container in containers:
        log(call, "INFO", f"Removed container name={container['name']}")
        del host["containers"][container["name"]]


def destroy(call, options):
    """Remove the lab's containers, its network if nobody else is in it, and with --cleanup its folder."""
    topology = Topology(options.get("topo", "clab.yml"))
    log(call, "INFO", f"Parsing & checking topology file={os.path.basename(topology.path)}")
    if call.fails():
        with state.change() as host:
            remove(call, host, of_lab(host, topology.name)[: int(call.knob.get("partial", 0))])
    call.hold()
    with state.change() as host:
        containers = of_lab(host, topology.name)
        if containers:
            log(call, "INFO", f"Destroying lab name={topology.name}")
        else:
            log(call, "INFO", "No containerlab containers found")
        remove(call, host, containers)
        network = host["networks"].get(topology.network)
        if network and not any(c["network"] == topology.network for c in host["containers"].values()):
            log(call, "INFO", f"Removing docker network name={topology.network}")
            del host["networks"][topology.network]
        host["labs"].pop(topology.name, None)
    if options.get("cleanup"):
        shutil.rmtree(topology.lab_folder(), ignore_errors=True)
    return 0


def inspect(call, options):
    """Show the containers of a lab, or of all."""
    host = state.read()
    lab = options.get("name")
    if options.get("topo"):
        lab = Topology(options["topo"]).name
    containers = of_lab(host, lab) if lab else sorted(host["containers"].values(), key=lambda c: c["name"])
    show(call, [container for container in containers if container["lab"]], options)
    return 0


def show(call, containers, options):
    """containerlab's table of containers, or its JSON, on standard output."""
    if options.get("format") == "json":
        labs = {}
        for c in containers:
            labs.setdefault(c["lab"], []).append({
                "lab_name": c["lab"],
                "labPath": c["topology"],
                "absLabPath": c["topology"],
                "name": c["name"],
                "container_id": table.short_id(c["name"]),
                "image": c["image"],
                "kind": c["kind"],
                "state": c["state"],
                "status": table.status(c),
                "ipv4_address": c["address"] or "N/A",
                "ipv6_address": "N/A",
                "owner": os.environ.get("USER", ""),
            })
        call.out(json.dumps(labs, indent=2) + "\n")
        return
    rows = []
    for c in containers:
        rows.append([[c["name"], ""], [c["kind"], c["image"]], [c["state"], ""], [c["address"] or "N/A", "N/A"]])
    call.out(table.boxed(["Name", "Kind/Image", "State", "IPv4/6 Address"], rows))
