"""A run: the commands of a plan, one after the other, and the result."""

from __future__ import annotations

import gc
import json
import os
import signal
import sys
from datetime import datetime, timezone

from netlab_driver import install
from netlab_driver.command import error_text, guarded, planned
from netlab_driver.record import Recorder, claim, finish

FENCED = 3  # exit code: another driver has this run, or nobody wants it any more


def now() -> str:
    return datetime.now(timezone.utc).isoformat()


def fork_command(recorder: Recorder, plan: dict, command: dict) -> int:
    """Run the command in a process of its own. Returns its exit code, or -N where signal N killed it.

    Signals are held back until the child has its own handlers, so that none is lost in between. Python's own handler, not
    the default action: SIGINT has to raise KeyboardInterrupt, and a handler (unlike an ignored signal) is not inherited by
    what the child executes.
    """
    # Without it the child's first garbage collection would copy all that the two share.
    gc.freeze()
    held = {signal.SIGINT, signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_BLOCK, held)
    pid = os.fork()
    if pid == 0:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)

        def call() -> None:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, held)
            planned(recorder, plan, command)

        sys.exit(guarded(recorder, call))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, held)
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status)


def run_commands(recorder: Recorder, plan: dict, stopped: list, result: dict) -> None:
    """Run the plan's commands until one fails or a signal has come, and fill in the result."""
    for command in plan["commands"]:
        name = command["name"]
        if stopped:
            result["exitCode"] = 128 + stopped[0]
            result["error"] = f"stopped by {signal.Signals(stopped[0]).name} before netlab {name} began"
            return
        recorder.command(name)
        result["command"] = name
        entry = {"name": name, "startedAt": now()}
        known = len(recorder.error_lines())
        code = fork_command(recorder, plan, command)
        exit_code = code if code >= 0 else 128 - code
        entry.update(exitCode=exit_code, finishedAt=now())
        result["commands"].append(entry)
        if code:
            result.update(exitCode=exit_code, error=error_text(recorder.error_lines()[known:], name, code))
            return


def run(run_dir: str) -> int:
    if not claim(run_dir):
        return FENCED
    # Signals reach the whole process group. The command ends by them; the driver lives on to write the result.
    stopped: list = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda n, _: stopped.append(n))
    recorder = Recorder(run_dir)
    result: dict = {"exitCode": 0, "error": "", "phase": "", "command": "", "hostFault": False, "commands": []}
    try:
        with open(f"{run_dir}/plan.json", encoding="utf-8") as f:
            plan = json.load(f)
        os.chdir(plan["workdir"])
        install.load(plan["oldest"])
        run_commands(recorder, plan, stopped, result)
    except Exception as ex:
        text = install.last_line(ex)
        if isinstance(ex, install.Unusable):
            text = f"{ex}; {ex.remedy}"
        print(f"netlab-worker: {text}", file=sys.stderr, flush=True)
        result.update(exitCode=1, error=text, hostFault=True)
    result["phase"] = recorder.last_phase()
    finish(run_dir, result)
    return 0
