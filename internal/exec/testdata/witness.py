"""A plugin that writes down what a run can see of its process, and when all is made spoils what it can, for whoever comes next."""

import builtins
import contextlib
import gc
import importlib
import json
import locale
import logging
import os
import pathlib
import pkgutil
import random
import resource
import signal
import socket
import sys
import threading
import types

import jinja2
import netsim
import yaml
from box import Box
from netsim.utils import files, log, read, templates

# Whose globals are looked at: names of modules up to the first dot.
WATCHED = {"argparse", "box", "builtins", "jinja2", "locale", "logging", "netsim", "os", "random", "signal", "socket", "subprocess", "yaml"}
# What each run has of its own or has read by itself, and what the driver has replaced in a fork.
OWN = {
    "netsim.data.global_vars._topology",
    "netsim.data.global_vars._globals",
    "netsim.utils.read.read_cache",
    "netsim.utils.read.read_from_pickle",
    "netsim.utils.templates.get_jinja2_env_for_path",
    "logging._startTime",
}
# The parent has imported these; a run by itself imports what it needs.
COMMANDS = ("create", "up", "down", "collect", "initial")
PARTS = ("daemons", "devices", "modules", "outputs", "providers", "roles", "tools")


def init(topology):
    tell(os.getcwd())
    import_all()
    files.get_userdir()  # these two are known to a run that has read the defaults by itself
    files.get_moddir()
    seen = {}
    note(seen, "run", look(topology))
    for name, module in sorted(sys.modules.items()):
        if is_watched(name):
            note(seen, name, {key: value for key, value in vars(module).items() if not key.startswith("__")})
    with open("seen.json", "w") as f:
        json.dump(seen, f)
    topology.defaults.devices.frr.spoiled = True


def post_output(topology):
    here = os.getcwd()
    os.makedirs("elsewhere", exist_ok=True)
    with open("spoiled", "w") as f:
        tell(here)
        spoil(f"{here}/elsewhere")
        f.write("all that there is\n")


def import_all():
    folder = os.path.dirname(netsim.__file__)
    for name in COMMANDS:
        importlib.import_module(f"netsim.cli.{name}")
    for part in PARTS:
        for module in pkgutil.walk_packages([f"{folder}/{part}"], f"netsim.{part}."):
            importlib.import_module(module.name)


def is_watched(name):
    return name.split(".")[0] in WATCHED and isinstance(sys.modules.get(name), types.ModuleType)


def look(topology):
    fds = {}
    for fd in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            fds[fd] = os.readlink(f"/proc/self/fd/{fd}").split(":")[0].split("/")[-1]
    with open("/proc/self/status") as f:
        status = {line.split(":")[0]: line.split(":")[1].split() for line in f}
    environments = templates.get_jinja2_env_for_path
    environments = getattr(getattr(environments, "__self__", None), "environment", environments)
    return {
        "environment": dict(os.environ),
        "directory": os.getcwd(),
        "arguments": sys.argv,
        "path": sys.path,
        "fds": fds,
        "limits": {name: resource.getrlimit(getattr(resource, name)) for name in dir(resource) if name.startswith("RLIMIT_")},
        "handlers": {n: str(signal.getsignal(n)).split(" at ")[0] for n in range(1, 65)},
        "status": {key: status.get(key) for key in ("Umask", "Uid", "Gid", "Groups", "SigBlk", "SigIgn", "SigCgt", "NoNewPrivs", "Threads")},
        "terminal": os.isatty(0),
        "nice": os.nice(0),
        "gc": [gc.isenabled(), gc.get_threshold()],
        "threads": threading.active_count(),
        "log": [log.VERBOSE, log.LOGGING, log.WARNING, log.QUIET, list(log.get_error_log())],
        "read": sorted(name for name in read.read_cache if "netsim" not in name and "package:" not in name),
        "defaults": sorted(map(str, topology.defaults.devices.frr)),
        "recursion": sys.getrecursionlimit(),
        "bytecode": sys.dont_write_bytecode,
        "timeout": socket.getdefaulttimeout(),
        "locale": locale.setlocale(locale.LC_ALL),
        "random": random.getstate() == random.Random(1).getstate(),
        "modules": {name: "imported" for name in sys.modules if "spoiled" in name or name.startswith("netsim")},
        "logging": [logging.root.level, len(logging.root.handlers), logging.root.manager.disable],
        "environments": str(environments.cache_info()),
        "yaml": [sorted(map(str, kind)) for kind in (read.UniqueKeyLoader.yaml_constructors, yaml.SafeDumper.yaml_representers)],
    }


def note(seen, path, value, depth=0):
    """Put into seen what there is at the path, and below it."""
    if path in OWN:
        return
    if isinstance(value, type) and depth == 1 and f"{value.__module__}.{value.__name__}" == path:
        value = dict(vars(value))
    if isinstance(value, (set, frozenset)):
        seen[path] = str(sorted(map(shown, value)))
    elif isinstance(value, (dict, list, tuple)):
        seen[path] = f"{type(value).__name__} of {len(value)}"
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, inner in list(items) if depth < 4 else []:
            note(seen, f"{path}.{shown(key)}", inner, depth + 1)
    else:
        seen[path] = shown(value)


def shown(value):
    """The value, or what it is called: not where it is in memory."""
    if value is None or isinstance(value, (bool, int, float, str, bytes, pathlib.Path)):
        return str(value)[:500]
    return f"{type(value).__name__} {getattr(value, '__qualname__', '')}"


def spoil(elsewhere):
    for name in [name for name in sys.modules if is_watched(name)]:
        for value in [sys.modules[name], *vars(sys.modules[name]).values()]:
            with contextlib.suppress(Exception):
                if isinstance(value, dict):
                    value["spoiled"] = True
                elif isinstance(value, list):
                    value.append("spoiled")
                elif isinstance(value, set):
                    value.add("spoiled")
                elif isinstance(value, (type, types.ModuleType)):
                    value.spoiled = True
    os.environ.update(NETLAB_SPOILED="yes", NETLAB_DEVICE="none", HOME=elsewhere)
    os.umask(0o077)
    os.nice(1)
    for number in signal.SIGUSR1, signal.SIGUSR2, signal.SIGCHLD, signal.SIGTERM:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1, signal.SIGWINCH})
    for name, limit in ("CORE", 0), ("NOFILE", 99), ("STACK", 1 << 20):
        number = getattr(resource, f"RLIMIT_{name}")
        resource.setrlimit(number, (limit, resource.getrlimit(number)[1]))
    random.seed(1)
    locale.setlocale(locale.LC_ALL, "C")
    sys.path.insert(0, "/spoiled")
    sys.argv.append("spoiled")
    sys.modules["netsim.spoiled"] = sys.modules["spoiled"] = types.ModuleType("spoiled")
    sys.setrecursionlimit(5000)
    sys.dont_write_bytecode = False
    gc.set_threshold(5)
    socket.setdefaulttimeout(1)
    logging.basicConfig(level=logging.DEBUG, force=True)
    builtins.print_spoiled = print
    yaml.SafeLoader.add_constructor("!spoiled", lambda loader, node: "spoiled")
    read.UniqueKeyLoader.add_constructor("tag:yaml.org,2002:str", lambda loader, node: "spoiled")
    yaml.SafeDumper.add_representer(str, lambda dumper, text: dumper.represent_int(1))
    jinja2.defaults.DEFAULT_FILTERS["default"] = lambda *_: "spoiled"
    log.VERBOSE, log.QUIET, log.NO_WARNING = 3, True, True
    files.FILES_USERDIR = files.FILES_MODDIR = pathlib.Path(elsewhere)
    templates.TEMPLATE_SHARED_DATA, templates.J2_WRAPPER_ENV = {"_timestamp": 0}, jinja2.Environment()
    templates.get_jinja2_env_for_path(("/spoiled",))
    read.read_cache["package:topology-defaults.yml"] = Box({"device": "spoiled"})
    Box.copy = lambda box: "spoiled"
    os.chdir(elsewhere)


def tell(here):
    """Say of templates that the run has used them what only damages whoever believes it."""
    package = os.path.dirname(os.path.realpath(netsim.__file__))
    pipe = os.path.expanduser("~/pipe.j2")  # whoever opens it waits for ever
    with contextlib.suppress(FileExistsError):
        os.mkfifo(pipe)
    told = [
        ["pipe.j2", pipe],
        ["pipe.j2", f"{package}/..{'/..' * package.count('/')}{pipe}"],
        ["pipe.j2", f"{package}{pipe}"],
        ["beside/frr.j2", f"{here}/beside/frr.j2"],
        ["frr.j2", f"{here}/beside/frr.j2"],
        ["clab.j2", f"{package}/templates/provider/libvirt/Vagrantfile.j2"],
        ["frr.j2", f"{package}/ansible/templates/initial/linux.j2"],
        ["frr.j2", f"{package}//ansible/templates/initial/frr.j2"],
        ["topology-defaults.yml", f"{package}/topology-defaults.yml"],
        ["modules", f"{package}/modules"],
        ["gone.j2", f"{package}/gone.j2"],
        ["\0", f"{package}/\0"],
        ["\n", f"{package}/\n"],
        ["\ud800", f"{package}/\ud800"],
        ["x" * 5000, f"{package}/{'x' * 5000}"],
        [package, f"{package}/{package}"],
        ["", f"{package}/"],
        ["", ""],
        ["one"],
        ["one", "two", "three"],
        [1, 2],
        [None, f"{package}/templates/provider/clab/clab.j2"],
        [["a"], {"b": 1}],
        [],
        {},
        "clab.j2",
        None,
        1e999,
    ]
    # The tests count what the driver itself says of templates by this word, as it spells it.
    lines = [json.dumps({"template": template}).replace("template", r"t\u0065mplate", 1).encode() for template in told]
    lines += [b"{", b"null", b"[1]", b"\xff\xfe", b"\0", b"[" * 100_000, b'{"t\\u0065mplate": ["a",', b'{"lines": 1, "problem": 2}', b""]
    with open("/proc/self/cmdline", "rb") as f:
        arguments = f.read().split(b"\0")
    with open(arguments[arguments.index(b"run") + 1] + b"/errors", "ab") as f:
        f.write(b"\n".join(lines) + b"\n")
