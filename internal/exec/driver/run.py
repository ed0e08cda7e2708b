"""A run: the commands of a plan, one after the other, and the result.

The process of the run itself keeps the rights that it was started with, and reads nothing of the lab's. Each command runs in
a child, which first becomes the job's user. The process is a child subreaper: whatever a command leaves behind, however it
went into the background, is below it in the tree for as long as it lives, and so can be found and stopped.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import pkgutil
import signal
import sys
import time
import traceback
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Optional

try:
    import ctypes
except ImportError:  # this Python is built without it
    ctypes = None  # type: ignore[assignment]

import netlab_driver
from netlab_driver import environment, install, rights
from netlab_driver.failure import error_text
from netlab_driver.record import Recorder, claim, finish

if TYPE_CHECKING:
    from netlab_driver.ready import Ready

FENCED = 3  # exit code: another driver has this run, or nobody wants it any more
PR_SET_CHILD_SUBREAPER = 36
PATIENCE = 20.0  # seconds that a stopped run waits for what its command has left behind; longer than a stop takes
REPORT_LIMIT = 65536
GC_OBJECTS = 100_000  # that are made between two garbage collections


def now() -> str:
    return datetime.now(timezone.utc).isoformat()


class Driver:
    """The process of a run, with what it was handed: the environment of the commands and the opened working directory."""

    def __init__(self, run_dir: str, place: Optional[int], ready: Optional[Ready] = None) -> None:
        self.dir = run_dir
        self.ready = ready  # what the parent that this process was forked from has prepared
        self.env: Optional[dict] = None  # that of the commands; none: this process's
        self.place = place
        self.plan: dict = {}
        self.recorder = Recorder(run_dir)
        self.stopped: list = []  # the signals that have come
        self.hurried = False  # the result is wanted now, whoever is left
        self.result: dict = {
            "exitCode": 0,
            "error": "",
            "phase": "",
            "command": "",
            "hostFault": False,
            "invalid": False,
            "stopped": False,
            "errors": [],
            "warnings": [],
            "commands": [],
        }

    def watch_signals(self) -> None:
        """They reach every process of the run. The command ends by them; the driver lives on to write the result."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda n, _: self.stopped.append(n))

        def hurry(*_: object) -> None:
            self.hurried = True

        signal.signal(signal.SIGUSR1, hurry)

    def load(self) -> None:
        """Read the plan, and import whatever a command needs."""
        with open(f"{self.dir}/plan.json", encoding="utf-8") as f:
            self.plan = json.load(f)
        self.recorder.asks = bool(self.plan.get("ask"))
        self.recorder.prepare(self.plan.get("user"))
        install.load(self.plan["oldest"])
        import_driver()

    def run_commands(self) -> None:
        """Run the plan's commands until one fails or a signal has come, and fill in the result."""
        for command in self.plan["commands"]:
            name = command["name"]
            if self.stopped:
                self.result["exitCode"] = 128 + self.stopped[0]
                self.result["error"] = f"stopped by {signal.Signals(self.stopped[0]).name} before netlab {name} began"
                return
            self.recorder.command(name)
            self.result["command"] = name
            entry = {"name": name, "startedAt": now()}
            known = self.recorder.size("errors")
            code, report = self.fork_command(command)
            exit_code = code if code >= 0 else 128 - code
            entry.update(exitCode=exit_code, finishedAt=now())
            self.result["commands"].append(entry)
            outcome = self.recorder.outcome(known)
            if self.ready:
                self.ready.tell(outcome["templates"])
            self.result["errors"], self.result["warnings"] = outcome["problems"], outcome["warnings"]
            if code:
                self.fail(exit_code, outcome, name, code, report)
                # Nobody has ended the children of a command that was killed, by the kernel for want of memory, say.
                self.result["stopped"] = code < 0
                return

    def fail(self, exit_code: int, outcome: dict, name: str, code: int, report: dict) -> None:
        invalid = report.get("invalid") or outcome["invalid"]
        error = report.get("fault") or invalid or error_text(outcome["lines"], name, code)
        self.result.update(exitCode=exit_code, error=error, hostFault="fault" in report, invalid=bool(invalid))

    def fork_command(self, command: dict) -> tuple:
        """Run the command in a process of its own. Returns its exit code, or -N where signal N killed it, and its report.

        Signals are held back until the child has its own handlers, so that none is lost in between. Python's own handler, not
        the default action: SIGINT has to raise KeyboardInterrupt, and a handler (unlike an ignored signal) is not inherited by
        what the child executes.
        """
        # Without it the child's first garbage collection would copy all that the two share.
        gc.freeze()
        # Netlab makes many objects and few cycles: looking for these after every few hundred costs a tenth of a short command.
        gc.set_threshold(GC_OBJECTS, 20, 100)
        from netlab_driver.steps import leave

        sys.stdout.flush()
        sys.stderr.flush()
        held = {signal.SIGINT, signal.SIGTERM}
        signal.pthread_sigmask(signal.SIG_BLOCK, held)
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.signal(signal.SIGUSR1, signal.SIG_DFL)
            os.close(reading)
            code = 1
            try:
                code = self.command(command, writing, held)
            except BaseException:  # the child must not go on as if it were its parent
                traceback.print_exc()
            leave(code)
        os.close(writing)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, held)
        report = read_report(reading)
        while True:
            ended, status = os.waitpid(-1, 0)  # also those of the command's children that have become this process's
            if ended == pid:
                return os.waitstatus_to_exitcode(status), report

    def command(self, command: dict, writing: int, held: set) -> int:
        """What the child does. Returns its exit code."""
        from netlab_driver.command import guarded, planned

        user = self.plan.get("user")
        report: dict = {}
        if self.ready:
            os.close(self.ready.told)
        try:
            self.settle(user)
        except rights.Impossible as ex:
            report = {"invalid": str(ex)}
        except Exception as ex:
            report = {"fault": install.last_line(ex) if not isinstance(ex, RuntimeError) else str(ex)}
        os.write(writing, json.dumps(report).encode()[:REPORT_LIMIT])
        os.close(writing)
        if report:
            print(f"netlab-worker: {''.join(report.values())}", file=sys.stderr, flush=True)
            return 1
        if user:
            # Whatever else the parent had open was opened with the rights that were given up.
            os.closerange(3, min(os.sysconf("SC_OPEN_MAX"), 65536))

        def call() -> None:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, held)
            if self.ready:
                self.ready.templates.note = self.recorder.template
            planned(self.recorder, self.plan, command)

        return guarded(self.recorder, call)

    def settle(self, user: Optional[dict]) -> None:
        """Become the user, in the working directory, with the job's environment."""
        who = (self.env or os.environ).get("USER", "")
        if user:
            rights.become(user)
        if self.env is not None:
            environment.take(self.env)
        rights.enter(self.place, self.plan["workdir"], who or str(os.getuid()))
        if user:
            rights.check_reach(who, rights.needed(self.dir))
        if self.place is not None:
            os.close(self.place)

    def outlive(self) -> None:
        """Wait until a stopped run has no other process left: while this one lives, they can be found."""
        end = time.monotonic() + PATIENCE
        with contextlib.suppress(ChildProcessError):
            while not self.hurried and time.monotonic() < end:
                if os.waitpid(-1, os.WNOHANG) == (0, 0):
                    time.sleep(0.01)

    def run(self) -> int:
        try:
            self.load()
            self.run_commands()
        except Exception as ex:
            text = install.last_line(ex)
            if isinstance(ex, install.Unusable):
                text = f"{ex}; {ex.remedy}"
            print(f"netlab-worker: {text}", file=sys.stderr, flush=True)
            self.result.update(exitCode=1, error=text, hostFault=True)
        if self.stopped:
            self.outlive()
            self.result["stopped"] = True
        self.result["phase"] = self.recorder.last_phase()
        finish(self.dir, self.result, lambda: self.hurried)
        return 0


def import_driver() -> None:
    """Import the modules of this folder, which the process of a command may not be able to read."""
    for module in pkgutil.iter_modules(netlab_driver.__path__):
        if module.name != "main":
            importlib.import_module(f"netlab_driver.{module.name}")


def shed(wanted: set) -> None:
    """Close what the worker itself was started with, by a careless supervisor, and what is none of a lab's business."""
    for name in os.listdir("/proc/self/fd"):
        if int(name) > 2 and int(name) not in wanted:
            with contextlib.suppress(OSError):  # that of the listing itself is closed already
                os.close(int(name))


def adopt() -> None:
    """Become the parent of whatever loses its own below this process. Where that is impossible, a stop finds less."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def read_report(reading: int) -> dict:
    """What the child says before it begins: {} where all is well, else {"invalid": text} or {"fault": text}."""
    with open(reading, "rb") as f:
        content = f.read(REPORT_LIMIT)
    with contextlib.suppress(ValueError):
        return json.loads(content)
    return {}


def run(run_dir: str, fds: list, ready: Optional[Ready] = None) -> int:
    """Run the plan. fds are descriptors, or -1 for none: where the environment is read from, and the working directory.

    ready is what the parent has prepared that this process was forked from.
    """
    env, place = [*(int(fd) for fd in fds), -1, -1][:2]
    shed({env, place, ready.told if ready else -1})
    for fd in (env, place):
        if fd >= 0:
            os.set_inheritable(fd, False)
    driver = Driver(run_dir, place if place >= 0 else None, ready)
    driver.watch_signals()
    if not claim(run_dir):
        return FENCED
    adopt()
    if env >= 0:
        driver.env = environment.read(env)
    return driver.run()
