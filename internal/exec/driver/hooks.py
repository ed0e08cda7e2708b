"""What is changed in Netlab's modules, in the process of one command."""

from __future__ import annotations

import builtins
import contextlib
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any, Callable, Optional

if TYPE_CHECKING:
    from netlab_driver.nested import Spare
    from netlab_driver.record import Recorder


def around(module: Any, name: str, begin: Callable, end: Callable = lambda: None) -> None:
    """Call begin with the same arguments before, and end after, every call of module.name.

    A Netlab without that name, or with other arguments, stays as it is: what only watches must not break a run.
    """
    original = getattr(module, name, None)
    if original is None:
        return

    def hooked(*args: Any, **kwargs: Any) -> Any:
        with contextlib.suppress(Exception):
            begin(*args, **kwargs)
        value = original(*args, **kwargs)
        end()
        return value

    setattr(module, name, hooked)


def phases(recorder: Recorder) -> None:
    """Record Netlab's own steps: its section headers, the steps of collect, and the two halves of create."""
    import netsim.augment.main
    from netsim.cli import external_commands
    from netsim.utils import log

    around(log, "section_header", lambda label, text, *_, **__: recorder.phase(f"{label} {text}"))
    around(external_commands, "print_step", lambda number, text, *_, **__: recorder.phase(text))
    around(
        netsim.augment.main,
        "transform",
        begin=lambda *_, **__: recorder.phase("Transforming the lab topology"),
        end=lambda: recorder.phase("Writing configuration files"),
    )


TRIED = 1
BEGUN = 2


def attempts(progress: Any) -> None:
    """Note in progress[0] how far a down gets: TRIED once it has found Docker or containerlab unusable, or has used them."""
    from netsim.cli import down, external_commands

    def note(value: int) -> Callable:
        def noted(*_: Any, **__: Any) -> None:
            progress[0] = value

        return noted

    around(down, "provider_probes", begin=note(TRIED), end=note(BEGUN))
    around(external_commands, "stop_lab", begin=note(TRIED))


def at_start(loaded: Callable, before: Callable, generated: Callable) -> None:
    """Call these with the topology: when an up has read it, when it has transformed it and has not touched anything, when it is written.

    Also in a create; an up from a snapshot calls before alone. That an up finds a lock is no reason to refuse any more: who calls this has looked at the lab.
    """
    import netsim.augment.main
    from netsim.cli import create, up
    from netsim.utils import log

    transform, load, run = netsim.augment.main.transform, up.load_snapshot, create.run

    def transformed(topology: Any) -> Any:
        loaded(topology)
        value = transform(topology)
        if not log.pending_errors():
            before(topology)
        return value

    def from_snapshot(*args: Any, **kwargs: Any) -> Any:
        topology = load(*args, **kwargs)
        before(topology)
        return topology

    def written(*args: Any, **kwargs: Any) -> Any:
        topology = run(*args, **kwargs)
        generated(topology)
        return topology

    netsim.augment.main.transform = transformed
    up.load_snapshot = from_snapshot  # type: ignore[attr-defined]
    create.run = written  # type: ignore[assignment]
    up.check_existing_lab = lambda: None


def tarballs() -> None:
    """Make a collect write the very file that it is told to: Netlab would add .tar.gz to a name in .tgz."""
    from netsim.cli import collect

    collect.get_tarball_file = lambda tarball: tarball


def probe(topology: Any) -> None:
    """Let Netlab see whether this host has the providers of the topology. It ends the command where one is missing.

    An up does so only after its files are written, when the lab that it replaces is down.
    """
    from netsim.cli import up

    up.provider_probes(topology)


def prompts() -> None:
    """A job cannot answer: a question ends the command, except the one about the external provider's cabling."""
    from netsim.providers import external
    from netsim.utils import log

    def refuse(prompt: str = "") -> str:
        log.fatal(f'Netlab asked "{str(prompt).strip()}", which a job cannot answer')

    def proceed(prompt: str = "") -> str:
        print(f"{prompt}y", flush=True)  # the cabling is in the log, and the job was asked to start the lab
        return "y"

    builtins.input = refuse
    external.input = proceed  # type: ignore[attr-defined]


def own_commands(run_dir: str, spare: Optional[Spare]) -> None:
    """Send what a command starts as `netlab ...` through the driver too (up starts `netlab initial`): the first to the spare.

    So it uses the same status file, reports its phases, and the cause of its failure gets into the job's error.
    """
    original = subprocess.run
    driver = [sys.executable, "-u", "-X", "utf8", os.path.join(os.path.dirname(__file__), "main.py"), "netlab", run_dir]

    def run(command: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(command, list) and command[:1] == ["netlab"]:
            if spare and spare.can_run(args, kwargs):
                return spare.run(command, kwargs)
            command = driver + command[1:]
        return original(command, *args, **kwargs)

    subprocess.run = run  # type: ignore[assignment]
