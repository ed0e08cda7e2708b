"""What goes on inside a container: commands are pretended, none runs on the machine.

A guest knows its files (bind mounts, what was copied in, FRR's configuration), a small shell, vtysh, and the modules
that Ansible sends. A program it does not know succeeds and says nothing.
"""

import json
import posixpath
import re
import sys

from . import ansible, shell
from .result import NotFound, Result

# Programs that a shell may look for.
PROGRAMS = ("python3", "/usr/bin/python3", "sh", "bash", "cat", "vtysh", "ip")
SILENT = ("sleep", "umask", "mkdir", "chmod", "chown", "true", ":", "export", "set", "cd")
# The part of a shell script that goes to vtysh.
HEREDOC = re.compile(r"^cat >\S+ <<CONFIG\n(.*?)^CONFIG$", re.DOTALL | re.MULTILINE)
SHELLS = ("sh", "bash", "ash")


class Guest:
    """A container seen from inside.

    Attributes:
        files: path -> text of the files that the commands wrote; None: removed.
        configured: the configuration scripts that the commands ran.
    """

    def __init__(self, container, has_input):
        self.container = container
        self.has_input = has_input
        self.files = {}
        self.configured = []

    @property
    def changed(self):
        """Whether there is something to be stored."""
        return bool(self.files or self.configured)

    def text_of(self, path):
        """A file's text, None if it is not there."""
        if path in self.files:
            return self.files[path]
        if self.container["files"].get(path) is not None:
            return self.container["files"][path]
        if path in self.container["binds"]:
            try:
                with open(self.container["binds"][path], encoding="utf-8", errors="surrogateescape") as file:
                    return file.read()
            except OSError:
                return None
        return self.frr_config() if path == "/etc/frr/frr.conf" else None

    def frr_config(self):
        """FRR's running configuration: what the configuration scripts told vtysh, one behind the other."""
        lines = ["frr version 10.7.1"]
        for path in self.container["configured"] + self.configured:
            text = self.text_of(path) or ""
            told = [text] if text.startswith("#!/usr/bin/vtysh") else HEREDOC.findall(text)
            lines += [line for line in "\n".join(told).splitlines() if line.strip() and line[0] not in "#!"]
        return "\n".join([line for line in lines if line != "do write"] + ["end", ""])

    def input(self):
        """What comes in on standard input, where docker exec passes it on."""
        return sys.stdin.buffer.read().decode("utf-8", "surrogateescape") if self.has_input else ""

    def run(self, words):
        """Run a command and return its Result; NotFound if a path names no file."""
        program = posixpath.basename(words[0])
        if program == "sudo":
            return self.run(shell.without_options(words[1:], ("-u", "-g", "-p")) or ["true"])
        if program in SHELLS:
            return self.run_shell(words[1:])
        if program.startswith("python"):
            return self.run_python(words[1:])
        command = getattr(self, "do_" + program, None)
        if command:
            return command(words[1:])
        if words[0].startswith("/") and words[0] not in PROGRAMS:
            if self.text_of(words[0]) is None:
                raise NotFound(words[0])
            self.configured.append(words[0])
        return Result()

    def run_shell(self, args):
        """sh [-options] [-c SCRIPT | FILE]; without either it reads its script from standard input."""
        rest = shell.without_options(args, ())
        if any(arg.startswith("-") and arg.endswith("c") for arg in args):
            return shell.run(rest[0] if rest else "", self)
        if not rest:
            return shell.run(self.input(), self)
        if self.text_of(rest[0]) is None:
            return Result(err=f"sh: can't open '{rest[0]}': No such file or directory\n", code=2)
        self.configured.append(rest[0])
        return Result()

    def run_python(self, args):
        """python FILE, or a script on standard input: Ansible's modules; anything else is silent."""
        text = self.text_of(args[0]) if args else self.input()
        if not args and "osrelease_content" in text:
            return Result(json.dumps({"platform_dist_result": [], "osrelease_content": "ID=alpine\n"}) + "\n")
        return ansible.run(ansible.reduce(text or ""), self)

    def do_echo(self, args):
        """echo"""
        return Result(" ".join("/root" if arg == "~root" or arg == "~" else arg for arg in args) + "\n")

    def do_hostname(self, args):
        """hostname"""
        return Result(self.container["node"] + "\n")

    def do_uname(self, args):
        """uname"""
        return Result("Linux\n")

    def do_false(self, args):
        """false"""
        return Result(code=1)

    def do_exit(self, args):
        """exit CODE"""
        return Result(code=int(args[0]) if args else 0)

    def do_command(self, args):
        """command -v PROGRAM"""
        return Result(args[-1] + "\n") if args and args[-1] in PROGRAMS else Result(code=1)

    def do_cat(self, args):
        """cat FILE…"""
        texts = {path: self.text_of(path) for path in args}
        missing = [path for path, text in texts.items() if text is None]
        if missing:
            return Result(err=f"cat: can't open '{missing[0]}': No such file or directory\n", code=1)
        return Result("".join(texts.values()) if args else self.input())

    def do_dd(self, args):
        """dd of=FILE: standard input goes to a file; of an Ansible module only the essence is kept."""
        for arg in args:
            if arg.startswith("of="):
                self.files[arg[3:]] = ansible.reduce(self.input())
        return Result()

    def do_rm(self, args):
        """rm [-f] [-r] PATH…"""
        for gone in shell.without_options(args, ()):
            for path in list(self.container["files"]) + list(self.files):
                if path == gone or path.startswith(gone.rstrip("/") + "/"):
                    self.files[path] = None
        return Result()

    def do_vtysh(self, args):
        """vtysh -c COMMAND"""
        commands = [args[i + 1] for i in range(len(args) - 1) if args[i] == "-c"]
        out = ""
        for command in commands:
            if command.startswith("wr"):
                out += "Building Configuration...\nConfiguration saved to /etc/frr/frr.conf\n[OK]\n"
            elif command.startswith("show run"):
                out += "Building configuration...\n\nCurrent configuration:\n!\n" + self.frr_config()
            elif command.startswith("show ver"):
                out += f"FRRouting 10.7.1 ({self.container['node']}) on Linux.\n"
            elif command.endswith("json"):
                out += "{}\n"
        return Result(out)
