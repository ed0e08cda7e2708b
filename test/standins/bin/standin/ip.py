"""The ip program as sudo runs it: bridges of the pretended host, namespaces of its containers."""

import json
import os

from . import state
from .invocation import Refused


def words_of(args):
    """The arguments without options in front."""
    rest = list(args)
    while rest and rest[0].startswith("-"):
        rest.pop(0)
    return rest


def step(args):
    """The words that name the command: "link add", "netns exec"."""
    return words_of(args)[:2]


def main(call, args):
    """Run ip and return its exit code."""
    words = words_of(args)
    if words[:2] == ["netns", "exec"] and len(words) > 3:
        return in_namespace(call, words[2], words[3:])
    if words[:1] == ["link"] and len(words) > 2:
        return link(words[1:])
    raise Refused(f"ip stand-in: refuses to run: ip {' '.join(args)}")


def link(words):
    """ip link add [name] BR type bridge, ip link set [dev] BR up|down, ip link del [dev] BR"""
    command = words[0]
    name = next(word for word in words[1:] + [""] if word not in ("name", "dev"))
    with state.change() as host:
        bridges = host["bridges"]
        if command == "add":
            if name in bridges:
                raise Refused("RTNETLINK answers: File exists", 2)
            bridges[name] = {"up": False}
        elif name not in bridges:
            raise Refused(f'Cannot find device "{name}"')
        elif command in ("del", "delete"):
            del bridges[name]
        elif command == "set":
            bridges[name]["up"] = "down" not in words
    return 0


def in_namespace(call, name, words):
    """A command in a container's network namespace: noted, not run.

    `sh FILE` is a node's configuration; the file must be there.
    """
    container = state.read()["containers"].get(name)
    if container is None or container["state"] != "running":
        raise Refused(f'Cannot open network namespace "{name}": No such file or directory')
    if words[0] in ("sh", "bash") and len(words) == 2:
        if not os.path.exists(words[1]):
            raise Refused(f"sh: 0: cannot open {words[1]}: No such file", 2)
        with state.change() as host:
            if name in host["containers"]:
                host["containers"][name]["configured"].append(os.path.basename(words[1]))
    elif words[:3] == ["tc", "qdisc", "show"]:
        call.out("qdisc noqueue 0: root refcnt 2\n")
    elif words[:2] == ["ip", "-j"]:
        call.out(json.dumps([{"ifname": words[-1]}]) + "\n")
    return 0
