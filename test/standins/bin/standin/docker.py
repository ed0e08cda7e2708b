"""The docker stand-in: what Netlab, Ansible's docker connection and a runner ask of the Docker command line."""

import json
import os
import time

from . import options, shown, state
from .invocation import Refused

VERSION = "28.5.1"
# Commands of two words: "docker image ls".
GROUPS = ("image", "network", "container", "volume", "system", "builder")
EXEC_OPTIONS = ("-u", "--user", "-e", "--env", "-w", "--workdir", "--env-file", "--detach-keys")
RUN_OPTIONS = ("--name", "--network", "--net", "-v", "--volume", "-p", "--publish", "-e", "--env", "-l", "--label",
               "-h", "--hostname", "-u", "--user", "-w", "--workdir", "--entrypoint", "--restart", "--ip",
               "--mount", "--pull", "--pid", "--cap-add", "--cap-drop", "--security-opt")


def command_of(args):
    """The command's words and what follows them."""
    rest = list(args)
    while rest and rest[0].startswith("-"):
        option = rest.pop(0)
        if option in ("-H", "--host", "-c", "--context", "--config", "-l", "--log-level") and rest:
            rest.pop(0)
    count = 2 if rest[:1] and rest[0] in GROUPS else 1
    return rest[:count], rest[count:]


def step(args):
    """The words that name the command."""
    return command_of(args)[0]


def main(call):
    """Run the command and return its exit code."""
    words, rest = command_of(call.args)
    if words[:1] == ["container"]:
        words = words[1:]
    command = COMMANDS.get(" ".join(words))
    if command is None:
        raise Refused(f"docker stand-in: knows no command \"{' '.join(words)}\"")
    call.hold()
    return command(call, rest)


def version(call, rest):
    """docker version"""
    fields, _ = options.parse(rest, ("-f", "--format"))
    data = {"Client": {"Version": VERSION}, "Server": {"Version": VERSION}}
    template = options.last(fields, "-f", "--format")
    if template:
        call.out(shown.render(template, data) + "\n")
    else:
        call.out(f"Client:\n Version:           {VERSION}\n\nServer:\n Engine:\n  Version:          {VERSION}\n")


def info(call, rest):
    """docker info"""
    count = len(state.read()["containers"])
    call.out(f"Client:\n Version:    {VERSION}\n\nServer:\n Containers: {count}\n Server Version: {VERSION}\n")


def images(call, rest):
    """docker image ls [--format F] [IMAGE]: every image is there (a knob's "stdout": "" says it is not)."""
    fields, names = options.parse(rest, ("-f", "--filter", "--format"))
    known = names or sorted({c["image"] for c in state.read()["containers"].values()})
    shown.listing(call, options.last(fields, "--format"), [shown.image(name) for name in known],
                  ["REPOSITORY", "TAG", "IMAGE ID"], ["Repository", "Tag", "ID"])


def ps(call, rest):
    """docker ps [-a] [-q] [--filter label=…|name=…|status=…] [--format F]"""
    fields, _ = options.parse(rest, ("-f", "--filter", "--format", "-n", "--last"))
    every = "-a" in fields or "--all" in fields or any(f.startswith("status=") for f in options.every(fields, "-f", "--filter"))
    rows = []
    containers = sorted(state.read()["containers"].values(), key=lambda c: -c["created"])
    for container in containers:
        if every or container["state"] == "running":
            if all(shown.fits(container, wanted) for wanted in options.every(fields, "-f", "--filter")):
                rows.append(shown.process(container))
    if "-q" in fields or "--quiet" in fields:
        call.out("".join(row["ID"] + "\n" for row in rows))
        return
    shown.listing(call, options.last(fields, "--format"), rows,
                  ["CONTAINER ID", "IMAGE", "STATUS", "NAMES"], ["ID", "Image", "Status", "Names"])


def stats(call, rest):
    """docker stats --no-stream [--format F]"""
    fields, _ = options.parse(rest, ("--format",))
    rows = [{"Name": c["name"], "MemUsage": "12.5MiB / 7.75GiB", "CPUPerc": "0.10%"}
            for c in state.read()["containers"].values() if c["state"] == "running"]
    shown.listing(call, options.last(fields, "--format"), rows, ["NAME", "MEM USAGE / LIMIT"], ["Name", "MemUsage"])


def inspect(call, rest):
    """docker inspect [--format F] NAME…"""
    fields, names = options.parse(rest, ("-f", "--format", "--type"))
    host = state.read()
    found, missing = [], []
    for name in names:
        try:
            found.append(shown.details(find(host, name)))
        except Refused:
            missing.append(name)
    shown.objects(call, options.last(fields, "-f", "--format"), found)
    for name in missing:
        call.err(f"Error: No such object: {name}\n")
    return 1 if missing else 0


def find(host, name):
    """A container by its name or id."""
    for container in host["containers"].values():
        if name == container["name"] or (len(name) >= 4 and shown.full_id(container["name"]).startswith(name)):
            return container
    raise Refused(f"Error response from daemon: No such container: {name}")


def execute(call, rest):
    """docker exec [-i] [-t] [-u USER] [-e K=V] [-w DIR] CONTAINER COMMAND…: never a command of the machine's."""
    fields, words = options.parse(rest, EXEC_OPTIONS, stop=True)
    if len(words) < 2:
        raise Refused('docker: "docker exec" requires at least 2 arguments')
    container = find(state.read(), words[0])
    if container["state"] != "running":
        raise Refused(f"Error response from daemon: container {shown.full_id(container['name'])} is not running")
    interactive = any(field.startswith("-") and not field.startswith("--") and "i" in field for field in fields)
    # Most commands of docker do without them, and begin the sooner.
    from .guest import Guest
    from .result import NotFound

    guest = Guest(container, interactive or "--interactive" in fields)
    try:
        result = guest.run(words[1:])
    except NotFound as error:
        raise Refused(
            f'OCI runtime exec failed: exec failed: unable to start container process: exec: "{error}": '
            "executable file not found in $PATH: unknown", 127) from None
    if guest.changed:
        with state.change() as host:
            current = host["containers"].get(container["name"], {"files": {}, "configured": []})
            files = {**current["files"], **guest.files}
            current["files"] = {path: text for path, text in files.items() if text is not None}
            current["configured"] += guest.configured
    call.out(result.out)
    call.err(result.err)
    return result.code


def copy(call, rest):
    """docker cp SOURCE CONTAINER:PATH, and the other way round."""
    _, words = options.parse(rest, ())
    if len(words) != 2:
        raise Refused('docker: "docker cp" requires exactly 2 arguments')
    source, target = words
    if ":" in target and not target.startswith("/"):
        name, _, path = target.partition(":")
        with open(source, encoding="utf-8", errors="surrogateescape") as file:
            text = file.read()
        with state.change() as host:
            find(host, name)["files"][path] = text
        return 0
    name, _, path = source.partition(":")
    from .guest import Guest

    text = Guest(find(state.read(), name), False).text_of(path)
    if text is None:
        raise Refused(f"Error response from daemon: Could not find the file {path} in container {name}")
    path = os.path.join(target, os.path.basename(path)) if os.path.isdir(target) else target
    with open(path, "w", encoding="utf-8", errors="surrogateescape") as file:
        file.write(text)
    return 0


def run_container(call, rest):
    """docker run --name NAME [--network N] IMAGE …: a running container that belongs to no lab."""
    fields, words = options.parse(rest, RUN_OPTIONS, stop=True)
    if not words:
        raise Refused('docker: "docker run" requires at least 1 argument')
    name = options.last(fields, "--name") or f"run_{os.getpid()}"
    with state.change() as host:
        if name in host["containers"]:
            raise Refused(f'docker: Error response from daemon: Conflict. The container name "/{name}" is already in use', 125)
        host["containers"][name] = {
            "name": name, "lab": "", "node": "", "kind": "", "image": words[0], "state": "created",
            "created": time.time(), "topology": "", "network": options.last(fields, "--network", "--net") or "bridge",
            "address": "", "binds": {}, "files": {}, "configured": [],
        }
        state.start(host["containers"][name])
    call.out(shown.full_id(name) + "\n")


def stop(call, rest):
    """docker stop|kill NAME…"""
    _, names = options.parse(rest, ("-s", "--signal", "-t", "--time", "--timeout"))
    with state.change() as host:
        for name in names:
            find(host, name).update(state="exited", stopped=time.time())
    call.out("".join(name + "\n" for name in names))


def start(call, rest):
    """docker start NAME…"""
    _, names = options.parse(rest, ())
    with state.change() as host:
        for name in names:
            state.start(find(host, name))
    call.out("".join(name + "\n" for name in names))


def remove(call, rest):
    """docker rm [-f] NAME…"""
    fields, names = options.parse(rest, ())
    with state.change() as host:
        for name in names:
            container = find(host, name)
            if container["state"] == "running" and not {"-f", "--force"} & set(fields):
                raise Refused(f"Error response from daemon: cannot remove container \"{name}\": container is running")
            del host["containers"][container["name"]]
    call.out("".join(name + "\n" for name in names))


def networks(call, rest):
    """docker network ls [-q] [--filter name=…] [--format F]"""
    fields, _ = options.parse(rest, ("-f", "--filter", "--format"))
    wanted = [f.partition("=")[2] for f in options.every(fields, "-f", "--filter") if f.startswith("name=")]
    rows = [{"ID": shown.full_id(name)[:12], "Name": name, "Driver": "bridge", "Scope": "local"}
            for name in ["bridge"] + sorted(state.read()["networks"]) if all(part in name for part in wanted)]
    if "-q" in fields or "--quiet" in fields:
        call.out("".join(row["ID"] + "\n" for row in rows))
        return
    shown.listing(call, options.last(fields, "--format"), rows,
                  ["NETWORK ID", "NAME", "DRIVER", "SCOPE"], ["ID", "Name", "Driver", "Scope"])


def network_inspect(call, rest):
    """docker network inspect [--format F] NAME…"""
    fields, names = options.parse(rest, ("-f", "--format"))
    host = state.read()
    missing = [name for name in names if name not in host["networks"]]
    found = [shown.network(host, name) for name in names if name in host["networks"]]
    shown.objects(call, options.last(fields, "-f", "--format"), found)
    for name in missing:
        call.err(f"Error response from daemon: network {name} not found\n")
    return 1 if missing else 0


def network_remove(call, rest):
    """docker network rm NAME…: refused while a container is in it."""
    _, names = options.parse(rest, ())
    with state.change() as host:
        for name in names:
            if name not in host["networks"]:
                raise Refused(f"Error response from daemon: network {name} not found")
            if any(c["network"] == name for c in host["containers"].values()):
                raise Refused(f"Error response from daemon: error while removing network: network {name} has active endpoints")
            del host["networks"][name]
    call.out("".join(name + "\n" for name in names))


def nothing(call, rest):
    """Commands that succeed and have nothing to do."""
    return 0


COMMANDS = {
    "version": version, "info": info, "image ls": images, "images": images, "image rm": nothing, "pull": nothing,
    "ps": ps, "ls": ps, "stats": stats, "inspect": inspect, "exec": execute, "cp": copy, "run": run_container,
    "stop": stop, "kill": stop, "start": start, "rm": remove, "logs": nothing,
    "network ls": networks, "network inspect": network_inspect, "network rm": network_remove,
    "volume ls": nothing, "volume rm": nothing, "system prune": nothing, "image prune": nothing,
}
