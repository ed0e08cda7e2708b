"""What each action does in each state of a lab."""

from __future__ import annotations

import os
import signal
import sys
from typing import Any, Callable, Optional

from netlab_driver import command, files, hooks, inputs, keep, nested, problems, searches, state, statusfile, validate
from netlab_driver.failure import Failure
from netlab_driver.steps import Steps, begun
from netlab_driver.takedown import TakeDown, say

NO_ID = (
    "multilabId: the topology has the plugin multilab, which needs an id: send multilabId (1 to 199), "
    "or name multilab in plugin, and the host picks a free one"
)


class Actions:
    """The actions of one command of a run, in the process of that command, which is the job's user in the working directory.

    Netlab itself runs in processes forked from this one, a command each. An action raises Failure, or ends as its command did.
    """

    def __init__(self, recorder: Any, plan: dict, request: dict) -> None:
        self.recorder, self.plan, self.request = recorder, plan, request
        self.steps = Steps(recorder)
        sys.dont_write_bytecode = True  # or the plugins' folders would fill
        statusfile.use(plan.get("statusFile", ""))

    def create(self) -> None:
        lab = state.Lab()
        self.refuse_beside(lab)
        if lab.locked or lab.containers:
            what = lab.summary() or files.LOCK
            raise Failure(
                f"Cannot create configuration files in a locked directory: {lab.dir} has a lab ({what}). "
                "Take it down first (down or destroy), or start what is in the topology now (up), which does that by itself"
            )
        self.end(self.steps.netlab(self.generating("create", keep.arguments(self.request), lab, lambda topology: None)))
        self.write_yaml()

    def up(self) -> None:
        statusfile.repair()
        lab = state.Lab()
        if lab.unknown():
            raise Failure(lab.unknown())
        self.refuse_beside(lab)
        args = keep.arguments(self.request)
        if not lab.is_there():
            self.start(args, lab)
            return
        why = f"it was started in {lab.moved()}" if lab.moved() else self.changes(lab, args)
        if not why and lab.is_complete():
            say(f"the lab {lab.instance} in {lab.dir} runs and is unchanged, nothing to do")
            if lab.missing():
                say(f"of its files {', '.join(lab.missing())} not found: restart makes them again")
            if files.is_stale(files.SNAPSHOT_YAML, files.SNAPSHOT):
                self.write_yaml()
            return
        why = why or self.no_going_on(lab)
        if why:
            say(f"there is a lab in {lab.dir} ({lab.summary()}), and {why}: it has to be taken down and generated anew")
            self.start(args, lab)
        else:
            say(f"a lab was left in {lab.dir} ({lab.summary()}), and nothing has changed: it is started again from its snapshot")
            self.start(["--snapshot"], lab)

    def changes(self, lab: state.Lab, args: list) -> str:
        """Why the lab that is there is not the one that is asked for, "" where it is."""
        if not lab.snapshot:
            return lab.fault or f"{files.SNAPSHOT} is not found"
        if lab.manifest and inputs.is_current(lab.manifest):
            return inputs.changed(lab.manifest, args)
        plugins, number, _ = keep.split(args)
        if not set(plugins) <= {str(plugin) for plugin in lab.snapshot.get("plugin") or []}:
            return "the request has other plugins than the lab was made with"
        if number and number != lab.instance:
            return "the request has another multilab id than the lab was made with"
        return inputs.newer(lab.snapshot, str(self.request.get("topology") or ""))

    def no_going_on(self, lab: state.Lab) -> str:
        """Why the lab cannot be started from its snapshot, "" where it can."""
        import netsim

        if lab.missing():
            return f"{lab.missing()[0]} is not found"
        if lab.snapshot["_netlab_version"] != str(getattr(netsim, "__version__", "")):
            return f"Netlab {lab.snapshot['_netlab_version']} made it"
        if lab.foreign:
            return f"its name is now that of the lab in {lab.foreign[0].folder}"
        if any(container.lab and container.lab != lab.name for container in lab.containers):
            return "containers of an earlier lab are left"
        return ""

    def start(self, args: list, lab: state.Lab) -> None:
        """Start the lab: from the snapshot, or else anew, behind whatever is there of an old one."""
        anew = args != ["--snapshot"]

        def decide(identity: dict) -> bool:
            verdict = self.recorder.ask({**identity, "movedFrom": lab.moved()})
            if verdict.get("refused"):
                self.refuse(verdict["refused"])
            now = state.Lab()
            if now.unknown():
                raise Failure(now.unknown())
            rivals = state.rivals(now, identity["instance"])
            if rivals:
                self.refuse(
                    f"the lab {identity['instance']} is already running in {rivals[0]}: take that one down first (down or destroy there), "
                    "or give this one a multilabId of its own"
                )
            if anew and now.is_there():
                TakeDown(self.recorder, self.plan, self.steps).run(now)
            if anew:
                files.remove([files.SNAPSHOT, files.SNAPSHOT_YAML, files.LOCK])
            self.forget_ghosts(now, identity["instance"])
            return True

        code = 1
        try:
            code = self.confer(args, lab, decide)
        finally:
            # Netlab notes an interrupt in the status file, also where it had touched nothing yet.
            if code and not os.path.lexists(files.LOCK):
                self.forget_ghost()
        self.end(code)
        self.write_yaml()

    def refuse_beside(self, lab: state.Lab) -> None:
        """Refuse to start a lab where one of somebody else's was started, whose directory is another one now."""
        if lab.strangers:
            one = lab.strangers[0]
            self.refuse(
                f"containers of user {one.owner} run that were started in {one.folder}, a directory that is not there any more: {one.name}. "
                f"Let {one.owner} take that lab down where it is now, or start this one in another directory"
            )

    def refuse(self, text: str) -> None:
        """End the action because the request cannot be carried out."""
        self.recorder.invalid(text)
        raise Failure(text)

    def confer(self, args: list, lab: state.Lab, decide: Callable) -> int:
        """Run an up that asks decide before it touches anything, once it is known that the host has what it needs."""
        replaces = args != ["--snapshot"] and lab.is_there()

        def child(ask: Callable) -> int:
            spare = nested.Spare(command.nested_of(self.recorder.dir, self.plan))

            def asked(topology: Any) -> None:
                if replaces:
                    hooks.probe(topology)
                ask(topology)

            return command.guarded(self.recorder, begun(self.generating("up", args, lab, asked, spare)))

        return self.steps.confer(child, decide)

    def generating(self, name: str, args: list, lab: state.Lab, ask: Callable, spare: Optional[nested.Spare] = None) -> Callable:
        """A Netlab command that generates, as a call: it notes its inputs and its errors."""

        def call() -> None:
            environment, made_of = inputs.settings(), inputs.templates()
            watch = inputs.Watch(inputs.read())
            searches.watch(watch.note_search, watch.note_pattern)
            problems.watch(self.recorder, str(self.request.get("topology") or args[-1]))

            def generated(topology: Any) -> None:
                watch.active = False
                problems.generated(self.recorder)
                inputs.write(watch, topology, args, environment, made_of)

            def asked(topology: Any) -> None:
                ask(topology)
                if args != ["--snapshot"]:
                    watch.begin()

            hooks.at_start(lambda topology: self.number(topology, lab), asked, generated)
            watch.active = True
            command.netlab(self.recorder, self.plan, name, args, spare)

        return call

    def number(self, topology: Any, lab: state.Lab) -> None:
        """Give a lab whose topology has the plugin multilab and no id the one that the worker has found free, or had before."""
        if not keep.wants_id(topology):
            return
        free = str(self.request.get("freeId") or "") or (lab.instance if lab.instance.isdecimal() else "")
        if not free:
            self.recorder.invalid(NO_ID)
            sys.exit(f"netlab-worker: {NO_ID}")
        say(f"the topology has the plugin multilab and no id, the lab gets {free}")
        topology.defaults.multilab.id = int(free)

    def forget_ghosts(self, lab: state.Lab, instance: str) -> None:
        """Remove what would keep an up of that id from starting, though it belongs to no lab."""
        elsewhere = state.ghosts(lab, instance)
        if elsewhere:
            folder = lab.entries[elsewhere[0]].get("dir")
            say(f"the status entry {instance} of {folder} belongs to no lab any more, it is removed")
            statusfile.forget(elsewhere)

    def forget_ghost(self) -> None:
        """An up that failed before it took the lock leaves an entry that nothing needs."""
        here = [key for key, entry in statusfile.labs().items() if entry.get("dir") == os.getcwd() and not entry.get("status")]
        if here:
            statusfile.forget(here)

    def restart(self) -> None:
        statusfile.repair()
        lab = state.Lab()
        if lab.unknown():
            raise Failure(lab.unknown())
        self.refuse_beside(lab)
        keep.restore_settings(lab)
        args = keep.restarted(lab, self.request)
        if not lab.is_there():
            say(f"a lab to restart is not found in {lab.dir}, it is started")
        self.start(args, lab)

    def down(self) -> None:
        self.take_down(cleanup="--cleanup" in (self.request.get("args") or []), force=False)

    def destroy(self) -> None:
        self.take_down(cleanup=True, force=True)

    def take_down(self, cleanup: bool, force: bool) -> None:
        statusfile.repair()
        lab = state.Lab()
        if lab.unknown():
            raise Failure(lab.unknown())
        self.forget_ghosts(lab, lab.instance)
        self.check_instance(lab)
        if lab.strangers:
            say(
                f"containers of user {lab.strangers[0].owner} were started in a directory of this path that is not there any more, they are left alone: "
                + ", ".join(container.name for container in lab.strangers)
            )
        originals = [container.name for container in lab.foreign if container.folder == lab.made and lab.is_copy()]
        if originals and state.is_gone(lab.made):
            say(
                f"{lab.dir} is a copy of the directory {lab.made}, whose lab is left alone: {', '.join(originals)}. "
                f"Should it be this lab, moved here from another disk, take it down with workdir {lab.made}"
            )
        work = TakeDown(self.recorder, self.plan, self.steps, cleanup, force)
        if lab.is_there() or not lab.providers <= {"clab", "external"} or (cleanup and lab.snapshot and lab.snapshot.get("tools")):
            work.run(lab)
            return
        if not lab.traces:
            say(f"nothing to take down: {lab.dir}/{files.SNAPSHOT} not found, nor a container or a status entry of a lab here")
            if lab.caution():
                say(lab.caution())
            if cleanup and files.doubtful():
                say(f"{', '.join(files.doubtful())} may be Netlab's, but nothing says that it was here: left alone")
        elif not cleanup:
            say(f"nothing to take down: the lab in {lab.dir} does not run, {files.LOCK} and its containers are not found")
        if cleanup and lab.traces:
            work.remove_files(lab)
            say(f"the lab in {lab.dir} does not run (not found: a lock, a container, a status entry), its files were removed")
        elif cleanup:
            files.remove([name for name in files.GRAPHS if os.path.lexists(name)])  # a graph can be drawn without a lab

    def check_instance(self, lab: state.Lab) -> None:
        """A working directory says which lab it is; an id that the request has beside it may say otherwise."""
        said = str(self.request.get("instance") or "")
        if said and lab.instance and said != lab.instance and (lab.is_there() or lab.traces):
            text = f"instance: the lab in {lab.dir} has the id {lab.instance}, not {said}: the job goes by the directory"
            say(text)
            self.recorder.warning(text)

    def collect(self) -> None:
        lab = state.Lab()
        if not os.path.exists(files.SNAPSHOT) or not os.path.exists("hosts.yml"):
            what = files.SNAPSHOT if not os.path.exists(files.SNAPSHOT) else "hosts.yml"
            raise Failure(f"there is no lab to collect from in {lab.dir}: {what} not found. Start it first (up)")
        if lab.fault:
            raise Failure(f"{lab.fault}, so what to collect is not known: restart makes the lab's files again")
        if lab.providers == {"clab"} and not lab.silence and not any(container.state == "running" for container in lab.containers):
            raise Failure(f"there is no lab to collect from in {lab.dir}: a running container of it is not found. Start it first (up)")
        self.check_instance(lab)
        args = self.request.get("args") or []

        def call() -> None:
            hooks.tarballs()
            command.netlab(self.recorder, self.plan, "collect", args)

        self.end(self.steps.netlab(call))
        tarball = next((arg.partition("=")[2] for arg in args if arg.startswith("--tar=")), "")
        if tarball and not os.path.isfile(tarball):  # a link may lead into what --cleanup removes
            raise Failure(f"{tarball} is not there after the collect: name a collectTar outside of the directory that is collected into")

    def validate(self) -> None:
        self.end(validate.run(self.recorder, self.plan, self.request, self.steps))

    def write_yaml(self) -> None:
        if self.plan.get("snapshotYAML"):
            command.write_snapshot_yaml()

    def end(self, code: int) -> None:
        """End as the command did, unless it was a success."""
        if code < 0:
            if -code != signal.SIGKILL:
                signal.signal(-code, signal.SIG_DFL)
            os.kill(os.getpid(), -code)
        if code:
            sys.exit(code)
