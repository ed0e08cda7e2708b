"""One command of a run, in a process of its own: Netlab keeps state in its modules, so a process runs one command only."""

from __future__ import annotations

import argparse
import json
import os
import pickle
import signal
import sys
import traceback
from typing import TYPE_CHECKING, Callable, Optional

from netlab_driver import hooks, install, labs, statusfile
from netlab_driver.failure import UNFINISHED, Failure, error_text
from netlab_driver.record import Recorder

if TYPE_CHECKING:
    from netlab_driver.nested import Spare

__all__ = ["guarded", "nested", "netlab", "planned", "write_snapshot_yaml"]

SNAPSHOT = "netlab.snapshot.pickle"


def guarded(recorder: Recorder, call: Callable) -> int:
    """Call as the interpreter calls a script. Returns the exit code, and records why it is not 0."""
    from netsim.utils import log

    reasons: list = []
    hooks.around(argparse.ArgumentParser, "error", lambda parser, message: reasons.append(f"{parser.prog}: {message}"))
    try:
        call()
        code = 0
    except SystemExit as ex:
        code = ex.code if isinstance(ex.code, int) else int(ex.code is not None)
        if isinstance(ex.code, str):
            print(ex.code, file=sys.stderr)
            reasons.append(ex.code)
    except KeyboardInterrupt:
        code = 128 + signal.SIGINT
        print("Interrupted", file=sys.stderr)
        reasons.append("interrupted")
    except BaseException as ex:
        code = 1
        traceback.print_exc()
        reasons.append(install.last_line(ex))
    if code:
        recorder.errors(list(log.get_error_log()) + reasons)
    return code


def netlab(recorder: Recorder, plan: dict, name: str, args: list, spare: Optional[Spare] = None) -> None:
    """Run a Netlab command, as the netlab script does. spare is a process for one that it starts by itself."""
    import netsim.cli

    hooks.phases(recorder)
    hooks.prompts()
    hooks.own_commands(recorder.dir, spare)
    statusfile.use(plan.get("statusFile", ""))
    script = install.find_script()
    sys.argv = [script, name, *args]
    try:
        netsim.cli.lab_commands(script)
    except SystemExit as ex:
        if ex.code in (None, 0):  # Netlab itself returns
            sys.exit(UNFINISHED)
        raise


def planned(recorder: Recorder, plan: dict, command: dict) -> None:
    """Run a command of the plan: the driver's own status, or an action, which runs Netlab in processes of their own."""
    from netlab_driver.actions import Actions

    name, args = command["name"], command.get("args") or []
    if name == "status":
        statusfile.use(plan.get("statusFile", ""))
        labs.print_status(args[0] if args else "")
        return
    actions = {name: getattr(Actions, name) for name in ("create", "up", "restart", "down", "destroy", "collect", "validate")}
    if name not in actions:
        sys.exit(f"the driver has no command {name}")
    try:
        actions[name](Actions(recorder, plan, command))
    except Failure as ex:
        print(f"netlab-worker: {ex}", file=sys.stderr, flush=True)
        recorder.errors([str(ex)])
        sys.exit(1)


def nested(run_dir: str, name: str, args: list) -> int:
    """Run a Netlab command that a command of the run has started."""
    with open(f"{run_dir}/plan.json", encoding="utf-8") as f:
        return nested_of(run_dir, json.load(f))(name, args)


def nested_of(run_dir: str, plan: dict) -> Callable:
    """What runs a Netlab command that a command of the run has started, given its name and arguments, and returns its exit code."""

    def run(name: str, args: list) -> int:
        recorder = Recorder(run_dir)
        return guarded(recorder, lambda: netlab(recorder, plan, name, args))

    return run


def write_snapshot_yaml() -> None:
    """Leave netlab.snapshot.yml with the data of the pickled snapshot, as Netlab's own yaml output has it."""
    import yaml

    try:
        with open(SNAPSHOT, "rb") as f:
            data = pickle.load(f)
        dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
        with statusfile.open_replacing("netlab.snapshot.yml", "w") as f:
            yaml.dump(data, f, Dumper=dumper, default_flow_style=False, width=120)
    except Exception as ex:  # the lab itself is as it should be: no reason to call the command failed
        print(f"netlab-worker: netlab.snapshot.yml is not written: {install.last_line(ex)}", file=sys.stderr)
