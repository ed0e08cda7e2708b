"""Whom a command runs as, and where: what a forked child does before anything of the lab's is read."""

from __future__ import annotations

import os
import sys
from typing import Optional

UMASK = 0o022


class Impossible(Exception):
    """The request cannot be carried out: its user may not enter the working directory, say."""


def become(user: dict) -> None:
    """Give up this process's rights for the user's, for good. Raises where any of them is left.

    Not with PR_SET_NO_NEW_PRIVS: Netlab starts containerlab, which is SUID, or sudo.
    """
    uid, gid, groups = user["uid"], user["gid"], user["groups"]
    os.setgroups(groups)
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    os.umask(UMASK)
    check(uid, gid, groups)


def check(uid: int, gid: int, groups: list) -> None:
    """Raise unless this process has the user's rights and no others."""
    wrong = []
    if os.getresuid() != (uid, uid, uid):
        wrong.append(f"user ids {os.getresuid()}")
    if os.getresgid() != (gid, gid, gid):
        wrong.append(f"group ids {os.getresgid()}")
    if set(os.getgroups()) != set(groups):
        wrong.append(f"groups {sorted(os.getgroups())}")
    if uid:
        with open("/proc/self/status", encoding="ascii", errors="replace") as f:
            status = dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)
        wrong.extend(f"{name} {status[name]}" for name in ("CapPrm", "CapEff", "CapAmb") if int(status.get(name, "0"), 16))
        try:
            os.setuid(0)
            wrong.append("the way back to root")
        except PermissionError:
            pass
    if wrong:
        raise RuntimeError(f"the rights of user {uid} could not be taken on: the process still has {', '.join(wrong)}")


def enter(place: Optional[int], path: str, who: str) -> None:
    """Go to the working directory: the opened one, which has to be what path still names. Without one, by the path."""
    try:
        if place is None:
            os.chdir(path)
            return
        os.fchdir(place)
    except PermissionError as ex:
        raise Impossible(f"user {who} may not enter the working directory {path}: give it to that user") from ex
    try:
        here = os.getcwd()
    except FileNotFoundError as ex:
        raise Impossible(f"the working directory {path} was deleted: submit the job again") from ex
    if here != path:
        raise Impossible(f"the working directory {path} was moved to {here}: submit the job again")


def check_reach(who: str, files: list) -> None:
    """Raise where this process cannot read one of the files that the command will need."""
    for path in files:
        if os.access(path, os.R_OK):
            continue
        closed = path
        folder = os.path.dirname(os.path.realpath(path))
        while folder != "/":
            if not os.access(folder, os.X_OK):
                closed = folder
            folder = os.path.dirname(folder)
        raise RuntimeError(
            f"user {who} cannot use {path}, because {closed} is not open to others: "
            f"open it (chmod o+x), or have Netlab and the worker's data directory elsewhere (NETLAB_WORKER_PYTHON, NETLAB_WORKER_DATA_DIR)"
        )


def needed(run_dir: str) -> list:
    """The files that a command reads or starts by itself: `netlab up` starts a second interpreter with this driver."""
    import netsim

    return [
        os.path.realpath(sys.executable),
        os.__file__,
        netsim.__file__ or "",
        os.path.join(os.path.dirname(os.path.realpath(__file__)), "main.py"),
        f"{run_dir}/plan.json",
    ]
