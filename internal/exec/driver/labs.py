"""What labs there are and how their nodes do, from Netlab's status file and its providers."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
from typing import Any

from netlab_driver import install, statusfile

NOT_FOUND = 4  # exit code of query: the answer says that there is no such lab
# The nodes' table: programs read it by position, so the first five (behind the node's name) must stay as they are.
COLUMNS = {
    "device": "device",
    "provider": "provider",
    "status": "status",
    "image": "image",
    "mgmt": "mgmt IPv4",
    "mgmt6": "mgmt IPv6",
    "connection": "connection",
    "provider_name": "VM/container",
}


def read_labs() -> Any:
    """Every lab by its id, from the file that statusfile.use has set, else from Netlab's own."""
    return statusfile.read(statusfile.where())


def is_started(lab: Any) -> bool:
    """Netlab's own rule for showing nodes: the lab is started, or a provider's workload once was."""
    return any("started" in str(line) for line in [lab.status, *(lab.log or [])])


def fetch_nodes(lab: Any) -> dict:
    """The lab's nodes by name, with the keys of Netlab's JSON. Raises where the lab's snapshot cannot be used."""
    from netsim.cli import status
    from netsim.utils import read, strings

    snapshot = f"{lab.dir}/netlab.snapshot.pickle"
    if not os.path.isfile(snapshot):  # else load_pickled_data dies on its own error text
        raise FileNotFoundError(f"{snapshot} not found")
    os.chdir(lab.dir)
    topology = read.load_pickled_data(snapshot)
    if hasattr(status, "get_topology_file"):
        lab.topology = status.get_topology_file(topology, lab.dir)
    if hasattr(status, "fetch_node_status"):
        status.fetch_node_status(lab, topology, {"status": True})
        return lab.nodes
    # An older Netlab has the nodes' state only as its table.
    tables: list = []
    strings.print_table = lambda heading, rows, **_: tables.append((heading, rows))
    status.show_lab_nodes(topology)
    names = {"mgmt IPv4": "mgmt", "VM/container": "provider_name"}
    heading, rows = tables[0]
    for row in rows:
        lab.nodes[row[0]] = {names.get(key, key): value for key, value in zip(heading, row) if isinstance(value, str)}
    return lab.nodes


def print_table(heading: list, rows: list) -> None:
    """Print a table whose cells are never wrapped or cut."""
    table = [heading] + [[" ".join(str(cell).replace("│", "|").split()) for cell in row] for row in rows]
    widths = [max(len(row[i]) for row in table) for i in range(len(heading))]

    def rule(left: str, middle: str, right: str) -> str:
        return left + middle.join("─" * (width + 2) for width in widths) + right

    lines = ["│ " + " │ ".join(cell.ljust(width) for cell, width in zip(row, widths)) + " │" for row in table]
    print("\n".join([rule("┌", "┬", "┐"), lines[0], rule("├", "┼", "┤"), *lines[1:], rule("└", "┴", "┘")]), flush=True)


def print_labs(labs: Any) -> None:
    print("Active lab instance(s)\n")
    rows = [[key, lab.dir or "", lab.status or "Unknown", ",".join(lab.providers or [])] for key, lab in labs.items()]
    print_table(["id", "directory", "status", "providers"], rows)


def print_nodes(nodes: dict) -> None:
    rows = [[name, *(node.get(column) or "" for column in COLUMNS)] for name, node in nodes.items()]
    print_table(["node", *COLUMNS.values()], rows)


def generated(folder: str) -> dict:
    """The nodes of a lab that was generated there, or that once ran there; {} where its snapshot cannot be used."""
    from box import Box

    with contextlib.suppress(Exception, SystemExit):
        return fetch_nodes(Box(dir=folder, nodes={}, log=[]))
    return {}


def print_lab(key: str, lab: Any) -> None:
    """Print the lab's nodes; of a lab that is only half there, what is known of it."""
    print(f"Lab {key} in {lab.dir}")
    print(f"  status:      {lab.status or 'Unknown'}")
    print(f"  provider(s): {','.join(lab.providers or [])}\n", flush=True)
    why = "it is not started"
    if is_started(lab):
        try:
            print_nodes(fetch_nodes(lab))
            return
        except (Exception, SystemExit) as ex:
            why = install.last_line(ex)
    print(f"netlab-worker: the lab's nodes cannot be shown: {why}")
    print("\n".join(str(line) for line in lab.log or []), flush=True)


def print_status(instance: str) -> None:
    """Print the lab in this directory, also one that does not run, or the instance; every lab, where this directory has none."""
    labs = read_labs()
    here = os.getcwd()
    keys = [k for k, lab in labs.items() if (str(k) == instance if instance else os.path.realpath(lab.dir or "/") == here)]
    if keys:
        print_lab(str(keys[0]), labs[keys[0]])
    elif instance:
        sys.exit(f"Unknown lab instance {instance}")
    elif nodes := generated(here):
        none = "" if labs else "No netlab-managed labs\n"
        print(f"{none}The lab in {here} has no status entry: its nodes as they were generated\n", flush=True)
        print_nodes(nodes)
    elif labs:
        print_labs(labs)
    else:
        print("No netlab-managed labs")


def describe(lab: Any) -> dict:
    """One lab as `netlab status -i ID --format json` prints it."""
    if not is_started(lab):
        return {"error": "Lab is not started, cannot display node/tool status"}
    try:
        fetch_nodes(lab)
    except (Exception, SystemExit) as ex:
        return {"error": f"Cannot display node/tool status: {install.last_line(ex)}"}
    return lab.to_dict()


def query(argv: list) -> int:
    """Print every lab, or the one instance, as Netlab's JSON or as text."""
    parser = argparse.ArgumentParser(prog="main.py query")
    parser.add_argument("--instance", default="")
    parser.add_argument("--text", action="store_true")
    parser.add_argument("--status-file", default="")
    args = parser.parse_args(argv)
    statusfile.use(args.status_file)
    answer = sys.stdout
    with contextlib.redirect_stdout(sys.stderr):  # where Netlab complains (of a missing docker, say)
        labs = read_labs()
        key = next((k for k in labs if str(k) == args.instance), None)
        missing = key is None if args.instance else not labs
        if missing:
            text = f"Unknown lab instance {args.instance}" if args.instance else "No netlab-managed labs"
            value: Any = {"error" if args.instance else "warning": text}
        elif args.text:
            with contextlib.redirect_stdout(answer):
                print_lab(args.instance, labs[key]) if args.instance else print_labs(labs)
            return 0
        else:
            value = describe(labs[key]) if args.instance else labs.to_dict()
    print(text if args.text else json.dumps(value, indent=2, default=str))
    return NOT_FOUND if missing else 0


def forget(folder: str, status_file: str) -> int:
    """Remove the entries of a lab that is no longer there from a status file."""
    statusfile.use(status_file)
    keys = [key for key, entry in statusfile.labs().items() if os.path.realpath(str(entry.get("dir") or "/")) == folder]
    if keys:
        statusfile.forget(keys)
    return 0
