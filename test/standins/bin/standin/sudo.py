"""The sudo stand-in: does the few harmless things that Netlab asks for to the pretended host, and refuses the rest."""

import os
import re
import sys

from . import ip, options, state
from .invocation import Refused

WITH_VALUE = ("-u", "--user", "-g", "--group", "-p", "--prompt", "-C", "-T", "-h", "--host", "-D", "--chdir")
STANDINS = ("containerlab", "docker", "brctl")
MASK = re.compile(r"\s*echo\s+(\S+)\s*>\s*/sys/class/net/([^/\s]+)/bridge/group_fwd_mask\s*")


def command_of(args):
    """The command behind sudo's own options and variables."""
    _, words = options.parse(args, WITH_VALUE, stop=True)
    while words and re.match(r"[A-Za-z_]\w*=", words[0]):
        words = words[1:]
    return words


def step(args):
    """The words that name the command: "sudo ip link add", "sudo sh"."""
    words = command_of(args)
    if words[:1] == ["ip"]:
        return ["ip"] + ip.step(words[1:])
    return words[:1]


def main(call):
    """Run the command and return its exit code."""
    words = command_of(call.args)
    if words[:1] and words[0] in STANDINS:
        # The neighbour does its own recording and has its own knobs.
        program = os.path.join(os.path.dirname(os.path.abspath(sys.argv[0])), words[0])
        os.execv(program, [program] + words[1:])
    call.hold()
    if not words or words == ["true"]:
        return 0
    if words[0] == "ip":
        return ip.main(call, words[1:])
    if words[0] == "modprobe":
        return 0
    if words[:2] == ["sh", "-c"] and len(words) == 3:
        return set_mask(words[2])
    if words[0] == "ovs-vsctl" and len(words) == 3 and words[1] in ("add-br", "del-br"):
        return ip.link(["add" if words[1] == "add-br" else "del", words[2]])
    raise Refused(f"sudo stand-in: refuses to run: {' '.join(words)}")


def set_mask(script):
    """echo MASK >/sys/class/net/BRIDGE/bridge/group_fwd_mask"""
    match = MASK.fullmatch(script)
    if not match:
        raise Refused(f"sudo stand-in: refuses to run: sh -c {script}")
    mask, bridge = match.groups()
    with state.change() as host:
        if bridge not in host["bridges"]:
            raise Refused(f"sh: 1: cannot create /sys/class/net/{bridge}/bridge/group_fwd_mask: Directory nonexistent", 2)
        host["bridges"][bridge]["groupFwdMask"] = mask
    return 0
