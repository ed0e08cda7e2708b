"""Questions about a lab that are answered at once: what a node shows (connect), and how the lab is drawn (graph).

    main.py ask ANSWER-FD PLACE-FD QUESTION

QUESTION is JSON, PLACE-FD the lab's directory. The answer goes to ANSWER-FD, a line of JSON for each step, of which the last
counts: {"step": what is going on}, {"exitCode": of the show command}, {"dot": Netlab's graph} or {"refused": why, "kind"}. What
is printed is the log. Nothing in the lab's directory, nor in Netlab's status file, is written.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
import threading
from typing import Any, Optional

from netlab_driver import boxes, files, install, scratch, state
from netlab_driver.failure import as_in_place

DOT_LIMIT = 2 << 20  # characters of a graph's description, of which none takes more than six bytes in the answer
TEXT_LIMIT = 4000  # characters of an error
NAMES = 60  # nodes that an error names
SPECIAL = set("|()*?[]#~!{}$")  # what a shell makes something of outside of quotes


class Refused(Exception):
    """Why there is no answer. kind: "unknown" (no such node), "state" (of the lab), "invalid" (the question)."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind = kind


class Answer:
    def __init__(self, fd: int) -> None:
        self.fd = fd
        os.set_inheritable(fd, False)

    def say(self, **what: Any) -> None:
        os.write(self.fd, json.dumps(what, ensure_ascii=False).encode("utf-8", "replace") + b"\n")


def ask(answer_fd: int, place: int, text: str) -> int:
    answer = Answer(answer_fd)
    question = json.loads(text)
    os.set_inheritable(place, False)
    give_up(question["seconds"])
    sys.dont_write_bytecode = True
    try:
        os.fchdir(place)
        answer.say(step="Netlab is being loaded")
        import netsim.cli

        boxes.use()
        netsim.cli.NETLAB_SCRIPT = install.find_script()
        {"connect": connect, "graph": graph}[question["verb"]](answer, question)
    except Refused as ex:
        answer.say(refused=str(ex)[:TEXT_LIMIT], kind=ex.kind)
    return 0


def give_up(seconds: float) -> None:
    """End this session when nobody waits for it any more, also where the worker is not there to do so."""
    timer = threading.Timer(seconds, os.killpg, (os.getpgrp(), signal.SIGKILL))
    timer.daemon = True
    timer.start()


def errors() -> str:
    """What Netlab has logged as errors."""
    from netsim.utils import log

    return "; ".join(" ".join(str(line).split()) for line in log.get_error_log())


def snapshot() -> Any:
    """The lab as Netlab itself loads it."""
    from netsim.data import global_vars
    from netsim.utils import read

    plain, fault = state.load_snapshot()
    if plain is None:
        raise Refused("state", fault or f"{files.SNAPSHOT} is not found in {os.getcwd()}: start the lab first (up)")
    topology = read.load_pickled_data(files.SNAPSHOT)
    global_vars.init(topology)
    return topology


def connect(answer: Answer, question: dict) -> None:
    """Run a show command on a node, as `netlab connect NODE --show WORD…` does."""
    from netsim.cli import connect as cli
    from netsim.cli import external_commands

    answer.say(step=f"{files.SNAPSHOT} is being loaded")
    topology, node, words = snapshot(), question["node"], question["show"]
    if node not in topology.nodes:  # nor is a tool one, whose command is a shell's on this host
        names = sorted(str(name) for name in topology.nodes)
        more = f" and {len(names) - NAMES} more" if len(names) > NAMES else ""
        raise Refused("unknown", f"the lab has no node {node}: its nodes are {', '.join(names[:NAMES])}{more}")
    if topology.nodes[node].get("unmanaged", False):
        raise Refused("invalid", f"node {node} is unmanaged, Netlab cannot connect to it")
    codes: list = []

    def run_command(command: Any, **_: Any) -> bool:
        program = " ".join(command[:2]) if command[0] == "docker" else "ssh"
        answer.say(step=f"`{program}` on node {node} runs")
        code = external_commands.run_command(command, return_exitcode=True)
        codes.append(127 if isinstance(code, bool) else code)  # a bool: the program is not there
        return codes[-1] == 0

    made = cli.create_command_list

    def create_command_list(host: Any, args: Any, rest: list) -> list:
        command = made(host, args, rest)
        check(command, words, (host.netlab_console_connection or host.ansible_connection) == "docker")
        return command

    cli.run_command, cli.create_command_list = run_command, create_command_list
    args = argparse.Namespace(show=words, host=node, verbose=0, quiet=True, dry_run=False, output=False)
    quiet = {"log_level": cli.LogLevel.NONE} if hasattr(cli, "LogLevel") else {}
    try:
        cli.connect_to_node(node=node, args=args, rest=[], topology=topology, **quiet)
    except SystemExit:
        raise Refused("state", errors() or f"Netlab cannot connect to node {node}") from None
    answer.say(exitCode=codes[-1] if codes else 0)


def check(command: list, words: list, by_shell: bool) -> None:
    """Refuse what would be no show command: an option for ssh, or something that the node's shell makes another command of."""
    if not command or str(command[0]).startswith("-"):
        raise Refused("invalid", "show: the device's show command begins with '-', which is taken for an option")
    for word in words if by_shell else ():
        if SPECIAL & set(word.rstrip("$")) and any(word in str(part) and not str(part).startswith('"') for part in command):
            raise Refused("invalid", f"show: {word!r} has a character that the node's shell would take for its own: leave it out")


def made_of(plain: Optional[dict], topology: str) -> bool:
    """Whether the lab that was created here was made of that topology."""
    sources = (plain or {}).get("input") or []
    return bool(sources) and os.path.realpath(topology) == os.path.realpath(str(sources[0]))


def tidy_texts() -> None:
    """Netlab writes texts of the lab's users between quotes as they are: with a quote in them they would be more than texts."""
    from netsim.outputs import graph as output
    from netlab_driver import hooks

    def plain(box: Any, key: str) -> None:
        if isinstance(box, dict) and isinstance(box.get(key), str):
            box[key] = box[key].replace('"', "'").replace("\\", "/")

    def tidy(topology: Any, settings: Any, drawn: Any, *_: Any) -> None:
        plain(topology.get("graph"), "title")
        plain(topology.defaults.get("graph"), "title")
        for cluster in (drawn.get("clusters") or {}).values():
            plain(cluster, "title")
            plain(cluster, "name")
        for item in [*(drawn.get("nodes") or {}).values(), *drawn.edges]:
            for attributes in (item.get("graph"), item.get("attr")):
                if isinstance(attributes, dict):
                    attributes.pop("format", None)  # Graphviz's own attributes: links, files, scripts

    if hasattr(output, "draw_graph"):
        hooks.around(output, "draw_graph", tidy)


def graph(answer: Answer, question: dict) -> None:
    """Make the description of a graph in Graphviz's language, as `netlab graph` does."""
    from netsim.cli import graph as cli

    topology, kind = question["topology"], question["type"]
    out = os.path.join(tempfile.mkdtemp(prefix="netlab-graph-"), "graph.dot")  # in a folder that the worker removes
    args, copy = ["--type", kind], ""
    plain, fault = state.load_snapshot()
    if topology and not made_of(plain, topology):
        if question.get("snapshotOnly"):
            raise Refused("state", "the lab was started by root: only what its snapshot has is drawn, leave topologyPath out")
        answer.say(step=f"Netlab transforms {topology}")
        copy = scratch.lay_out(tempfile.mkdtemp(prefix="netlab-graph-"))
        args += ["--topology", topology]
    else:
        answer.say(step=f"{files.SNAPSHOT} is being loaded")
        if plain is None:
            raise Refused("state", fault or f"{files.SNAPSHOT} is not found in {os.getcwd()}")
    tidy_texts()
    try:
        cli.run([*args, out])
    except SystemExit:
        pass
    except Exception as ex:  # of a plugin's, say
        raise Refused("invalid", f"Netlab cannot make the graph: {as_in_place(install.last_line(ex), copy)}") from None
    try:
        with files.opened(out, "r") as f:
            dot = f.read(DOT_LIMIT + 1)
    except (OSError, ValueError) as ex:
        raise Refused("invalid", as_in_place(errors(), copy) or f"Netlab has made no graph: {install.last_line(ex)}") from None
    if len(dot) > DOT_LIMIT:
        raise Refused("invalid", f"the graph's description has more than {DOT_LIMIT} characters")
    answer.say(dot=dot)
