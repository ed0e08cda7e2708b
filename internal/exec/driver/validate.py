"""The action validate: generates the lab in a copy of its directory, and reports Netlab's errors as data."""

from __future__ import annotations

from typing import Any

from netlab_driver import command, hooks, install, keep, problems, scratch
from netlab_driver.steps import Steps


def run(recorder: Any, plan: dict, request: dict, steps: Steps) -> int:
    """Returns the exit code: 0 where Netlab has nothing against the topology."""
    topology = str(request.get("topology") or "")

    def call() -> None:
        recorder.copy = scratch.lay_out(recorder.scratch)
        problems.watch(recorder, topology)
        hooks.at_start(number, lambda topology: None, lambda topology: None)
        try:
            command.netlab(recorder, plan, "create", keep.arguments(request))
        except Exception as ex:  # of a plugin's, say: Netlab has not logged it
            recorder.problem(topology, install.last_line(ex))
            raise

    return steps.netlab(call)


def number(topology: Any) -> None:
    """Give the lab an id where an up would be given a free one: which one it is makes no difference to the topology."""
    if keep.wants_id(topology):
        topology.defaults.multilab.id = 1
