"""The action validate: generates the lab in a scratch directory, and reports Netlab's errors as data."""

from __future__ import annotations

import os
import tempfile
from typing import Any

from netlab_driver import command, files, hooks, install, keep, problems
from netlab_driver.steps import Steps


def run(recorder: Any, plan: dict, request: dict, steps: Steps) -> int:
    """Returns the exit code: 0 where Netlab has nothing against the topology."""
    with tempfile.TemporaryDirectory(prefix="netlab-validate-") as scratch:

        def call() -> None:
            problems.watch(recorder, str(request.get("topology") or ""))
            lay_out(scratch)
            hooks.at_start(number, forget_tools, lambda topology: None)
            try:
                command.netlab(recorder, plan, "create", keep.arguments(request))
            except Exception as ex:  # of a plugin's, say: Netlab has not logged it
                recorder.problem(str(request.get("topology") or ""), install.last_line(ex))
                raise

        return steps.netlab(recorder, call)


def lay_out(scratch: str) -> None:
    """Go to the scratch directory, which has what Netlab may want to read of the working directory and nothing it writes."""
    here = os.getcwd()
    written = {*files.GENERATED, *files.lab_folders(), "__pycache__"}
    for name in os.listdir(here):
        if name not in written:
            os.symlink(f"{here}/{name}", f"{scratch}/{name}")
    os.chdir(scratch)


def number(topology: Any) -> None:
    """Give the lab an id where an up would be given a free one: which one it is makes no difference to the topology."""
    if keep.wants_id(topology):
        topology.defaults.multilab.id = 1


def forget_tools(topology: Any) -> None:
    """A tool's folder is written, too, and only the transformed topology tells which tools there are."""
    for tool in topology.tools if "tools" in topology else ():
        if os.path.islink(tool):
            os.unlink(tool)
