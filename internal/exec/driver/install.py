"""Netlab as this interpreter has it."""

from __future__ import annotations

import json
import os
import shutil
import site
import sys
import sysconfig
import traceback

from netlab_driver.stamps import noting, places, stamp


class Unusable(Exception):
    """There is no Netlab that can be used: the text says why, remedy what to do."""

    def __init__(self, text: str, oldest: str) -> None:
        super().__init__(text)
        self.remedy = (
            f"install it with `{sys.executable} -m pip install 'networklab>={oldest}'`, "
            "or set NETLAB_WORKER_PYTHON to the Python that has it"
        )


def last_line(ex: BaseException) -> str:
    """An exception as the last line of its traceback shows it."""
    return traceback.format_exception_only(type(ex), ex)[-1].strip()


def release(version: str) -> tuple:
    """Year and month of a version, to compare: 26.10 is newer than 26.9 and 26.09.post1."""
    digits = "".join(c if c.isdigit() else " " for c in version).split()
    return tuple(int(d) for d in digits[:2])


def find_script() -> str:
    """The netlab script of this interpreter. Netlab looks for programs in that script's folder, too."""
    folders = [os.path.dirname(sys.executable), sysconfig.get_path("scripts")]
    if hasattr(sysconfig, "get_preferred_scheme"):
        # In the home in which this interpreter was started and found Netlab, whoever it is by now.
        base = {"userbase": site.getuserbase()}
        folders.append(sysconfig.get_path("scripts", sysconfig.get_preferred_scheme("user"), base))
    for folder in folders:
        if folder and os.access(f"{folder}/netlab", os.X_OK):
            return f"{folder}/netlab"
    return shutil.which("netlab") or f"{folders[0]}/netlab"


def load(oldest: str) -> str:
    """Import what every command needs and return Netlab's version, or raise Unusable."""
    try:
        import netsim
    except ModuleNotFoundError as ex:
        if ex.name == "netsim":
            raise Unusable(f"{sys.executable} has no Netlab ({ex})", oldest) from ex
        raise Unusable(f"the Netlab of {sys.executable} is broken: {last_line(ex)}", oldest) from ex
    except (Exception, SystemExit) as ex:
        raise Unusable(f"the Netlab of {sys.executable} is broken: {last_line(ex)}", oldest) from ex
    version = str(getattr(netsim, "__version__", "of unknown version"))
    if release(version) < release(oldest):
        raise Unusable(f"Netlab {version} of {sys.executable} is too old, {oldest} or newer is needed", oldest)
    try:
        import netsim.cli.external_commands
        from netsim.utils import log, status

        for name, module in (("lab_commands", netsim.cli), ("get_error_log", log), ("get_status_filename", status)):
            if not callable(getattr(module, name, None)):
                raise ImportError(f"{module.__name__} has no {name}")
    except (Exception, SystemExit) as ex:
        raise Unusable(f"Netlab {version} of {sys.executable} is broken: {last_line(ex)}", oldest) from ex
    from netlab_driver import boxes

    boxes.use()
    return version


def probe(oldest: str) -> int:
    """Print {"version"} or {"error","remedy"}, and {"python","script","ansible","stamps"} in any case."""
    script = find_script()
    stamps = {path: stamp(path) for path in (script, *places())}
    answer: dict = {}
    imported: dict = {}
    try:
        with noting(imported):
            answer["version"] = load(oldest)
    except Unusable as ex:
        answer.update(error=str(ex), remedy=ex.remedy)
        # The file that is broken is one of them, and may be mended where it is; what is missing is missing beside one of them. Of the
        # folders it counts how they are by now: the import may have written what it compiled.
        stamps.update(imported)
        for folder in {os.path.dirname(path) for path in imported}:
            stamps.setdefault(folder, stamp(folder))
    answer["stamps"] = {path: " ".join(map(str, found or ())) for path, found in stamps.items()}
    path = os.pathsep.join([os.path.dirname(script), os.environ.get("PATH", "")])
    ansible = shutil.which("ansible-playbook", path=path) is not None
    answer.update(python=sys.version.split()[0], script=script, ansible=ansible)
    print(json.dumps(answer))
    return 0
