"""Taking a lab down, whatever state it is in: by Netlab's own down where that can do it, else by what is left of the lab."""

from __future__ import annotations

import mmap
import os
from typing import Any

from netlab_driver import command, containers, files, hooks, state, statusfile
from netlab_driver.failure import Failure, enumerate_left
from netlab_driver.steps import Steps


def say(text: str) -> None:
    print(f"netlab-worker: {text}", flush=True)


class TakeDown:
    """One take-down. cleanup removes the generated files as well; force goes on by Docker's means where containerlab fails."""

    def __init__(self, recorder: Any, plan: dict, steps: Steps, cleanup: bool = False, force: bool = False) -> None:
        self.recorder, self.plan, self.steps = recorder, plan, steps
        self.cleanup, self.force = cleanup, force
        self.tried = False  # Netlab's down has had its chance

    def run(self, lab: state.Lab) -> None:
        """Take the lab down, or raise Failure, which says what is left. What cannot be taken down keeps its files."""
        if lab.unknown():
            raise Failure(lab.unknown())
        self.adopt(lab)
        code = 0
        if self.netlab_can(lab):
            code = self.netlab_down(lab)
            if code and not self.tried:
                self.by_containerlab(lab)
        elif lab.containers or lab.networks or lab.bridges:
            say(f"{self.why_not(lab)}, so the lab is taken down by what Docker has of it: {enumerate_left(lab.left())}")
            self.by_containerlab(lab)
        after = self.clear(lab)
        left = after.left()
        if any(left.values()):
            raise Failure(f"the lab is still there, {enumerate_left(left)}: {self.remedy(after)}")
        if code and not self.force and not lab.providers <= {"clab"}:
            raise Failure(f"netlab down ended with exit code {code}: see the log for why, and submit the job again")
        self.forget(after)
        for network, user in sorted({**lab.shared, **after.shared}.items()):
            say(f"the network {network} stays, the container {user} uses it")
        if self.cleanup:
            self.remove_files(lab)

    def adopt(self, lab: state.Lab) -> None:
        """Tell Netlab's status file of a lab that was moved where it is now."""
        for key in lab.here:
            folder = str(lab.entries[key].get("dir") or "")
            if folder != lab.dir and str(key) == lab.instance:
                say(f"the lab {key} was started in {folder}, which was moved to {lab.dir}")
                statusfile.adopt(key, lab.dir)

    def netlab_can(self, lab: state.Lab) -> bool:
        return bool(lab.snapshot) and not lab.foreign and not ("clab" in lab.providers and self.clab_file(lab) is None)

    def clab_file(self, lab: state.Lab) -> Any:
        """The file that containerlab was started with, None where it is not there."""
        name = files.CLAB if lab.identity.get("provider") == "clab" else "clab-augment.yml"
        return name if os.path.isfile(name) else None

    def why_not(self, lab: state.Lab) -> str:
        if lab.fault:
            return lab.fault
        return f"{files.SNAPSHOT} is not found" if not lab.snapshot else f"{files.CLAB} is not found"

    def netlab_down(self, lab: state.Lab) -> int:
        """Netlab's own down. Its exit code is 0, too, where it could not even begin: see its errors."""
        elsewhere = any(str(key) == lab.instance and key not in lab.here for key in lab.entries)
        progress = mmap.mmap(-1, 1)  # shared with the process of the command
        plan = self.plan
        if elsewhere:  # the entry is another lab's, which has to stay as it is
            plan = {**plan, "statusFile": f"{self.recorder.scratch}/status.yaml"}

        def call() -> None:
            from netsim.utils import log

            hooks.attempts(progress)
            command.netlab(self.recorder, plan, "down", ["--cleanup"] if self.cleanup else [])
            if log.get_error_log():
                raise SystemExit(1)

        code = self.steps.netlab(call)
        self.tried = progress[0] == hooks.TRIED
        return code

    def by_containerlab(self, lab: state.Lab) -> None:
        """Let containerlab do it: it also knows of the hosts file and the ssh configuration."""
        if lab.containers and not lab.foreign and os.path.isfile(files.CLAB) and state.read_clab().get("name") == lab.name:
            fault = containers.attempt("containerlab", "destroy", "--cleanup", "-t", files.CLAB)
            if fault:
                say(f"containerlab cannot destroy it: {fault}")

    def look(self, *earlier: state.Lab) -> state.Lab:
        """What is there of the lab now, as it was seen earlier. What Docker does not say is not gone: raises Failure."""
        lab = state.Lab()
        if lab.silence and any("clab" in one.providers for one in (lab, *earlier)):
            if self.steps.interrupted:  # so was the question
                raise KeyboardInterrupt
            raise Failure(f"Docker cannot be asked whether the lab is gone ({lab.silence}): start Docker, and submit the job again")
        return lab

    def clear(self, lab: state.Lab) -> state.Lab:
        """Remove what a down leaves where it failed or did not know of it. Returns what is there then."""
        after = self.look(lab)
        if self.steps.interrupted and any(after.left().values()):
            raise KeyboardInterrupt  # Netlab's down takes one for an answer of its probes, and ends with 0
        by_hand = self.force or not self.tried
        faults = []
        for container in after.containers:
            if by_hand or container.lab != lab.name:  # of an earlier lab of this directory
                faults.append(containers.remove_container(container.name))
        seen = [lab]
        if after.containers:
            seen.append(after)  # networks are known by their containers only while these are there
            after = self.look(lab)
        after.remember(*seen)
        if not after.containers:
            faults += [containers.remove_network(name) for name in after.networks]
            faults += [containers.remove_bridge(name) for name in after.left()["bridge"]]
            if after.networks or after.bridges:
                after = self.look(lab)
                after.remember(*seen)
        for fault in dict.fromkeys(filter(None, faults)):
            say(fault)
            self.recorder.errors([fault])
        return after

    def remedy(self, after: state.Lab) -> str:
        if self.force:
            return "the log says what Docker and sudo answered; put that right, and submit the job again"
        return "the log says why; put that right and submit the job again, or destroy the lab, which also removes what containerlab cannot"

    def forget(self, after: state.Lab) -> None:
        """Nothing runs any more: no lock and no entry must say otherwise."""
        if after.here:
            try:
                statusfile.forget(after.here)
            except Failure as ex:
                raise Failure(f"the lab is down, but it is still listed: {ex}. Submit the job again once that is over") from ex
        left = files.remove([files.LOCK])
        if left:
            raise Failure(f"the lab is down, but its lock could not be removed: {left[0]}. Give it to the job's user, and submit the job again")

    def remove_files(self, lab: state.Lab) -> None:
        proven = lab.is_there() or any(name in files.PROOF for name in lab.traces)
        kept = [os.path.expanduser("~/.netlab"), statusfile.location(), files.MANIFEST]
        names = files.generated(lab.snapshot, lab.record, lab.name, proven, kept)
        left = files.remove(names)
        if names:
            say(f"files removed: {', '.join(names)}")
        doubtful = [name for name in files.listed(lab.record.get("generated")) if files.is_folder(name)]
        if doubtful and not left:
            say(f"{', '.join(doubtful)} may have been there before the lab, what is in it is left alone")
        if left:
            raise Failure(
                f"the lab is down, but not all of its files could be removed: {', '.join(left)}. "
                "Give them to the job's user, and submit the job again"
            )
        files.remove([files.MANIFEST])  # at last: it says what is left to remove
