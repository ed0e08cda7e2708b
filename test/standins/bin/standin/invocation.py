"""One run of a stand-in: it is recorded, does what its knob says, and then its own work."""

import json
import os
import signal
import sys
import time

from . import knobs, state


class Refused(Exception):
    """A command ends: a text for standard error and an exit code."""

    def __init__(self, text, code=1):
        super().__init__(text)
        self.text = text
        self.code = code


class Invocation:
    """What was called and how.

    Attributes:
        args: the arguments behind the program's name.
        step: the words that name the command, "docker image ls", without options and operands.
        knob: the knob that is set for the step, empty if none is.
    """

    def __init__(self, program, args, step):
        self.program = program
        self.args = args
        self.step = step
        self.knob = {}

    def out(self, text):
        """Write to standard output, in UTF-8 whatever the locale is."""
        sys.stdout.buffer.write(text.encode("utf-8", "surrogateescape"))
        sys.stdout.buffer.flush()

    def err(self, text):
        """Write to standard error, in UTF-8 whatever the locale is."""
        sys.stderr.buffer.write(text.encode("utf-8", "surrogateescape"))
        sys.stderr.buffer.flush()

    def hold(self):
        """Take the time and make the noise that the knob asks for; ends the command if it is to fail.

        Commands call it where the real program spends its time.
        """
        for number in range(1, int(self.knob.get("lines", 0)) + 1):
            self.err(f"{time.strftime('%H:%M:%S')} INFO {self.step} line {number}\n")
        if "gate" in self.knob:
            pass_gate(os.path.join(state.folder(), self.knob["gate"]))
        time.sleep(float(self.knob.get("sleep", 0)))
        if "stderr" in self.knob:
            self.err(self.knob["stderr"])
        if self.fails():
            raise Refused("", int(self.knob["fail"]))

    def fails(self):
        """Whether the knob makes the command fail."""
        return int(self.knob.get("fail", 0)) != 0


def pass_gate(path):
    """Say by PATH.reached that the gate is reached, and wait until PATH exists."""
    with open(path + ".reached", "w"):
        pass
    while not os.path.exists(path):
        time.sleep(0.02)


def run(module):
    """Run a program's module (its step(args) and main(invocation)) and return the exit code."""
    program = os.path.basename(sys.argv[0])
    args = sys.argv[1:]
    call = Invocation(program, args, " ".join([program] + module.step(args)))
    record(call)
    call.knob = knobs.take(call.step, " ".join([program] + args))
    for name in call.knob.get("ignore", []):
        signal.signal(getattr(signal, "SIG" + name), signal.SIG_IGN)
    try:
        if "stdout" in call.knob:
            call.hold()
            call.out(call.knob["stdout"])
            return 0
        return module.main(call) or 0
    except Refused as refused:
        call.err(refused.text + "\n" if refused.text else "")
        return refused.code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader is gone; a second error at exit, when Python flushes, would only hide that.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


def record(call):
    """Append the call to <state>.calls, one JSON object a line."""
    line = {
        "argv": [call.program] + call.args,
        "step": call.step,
        "cwd": os.getcwd(),
        "pid": os.getpid(),
        "ppid": os.getppid(),
        "env": {name: os.environ[name] for name in ("HOME", "USER") if name in os.environ},
        "time": time.time(),
    }
    # A single write to a file opened for append: lines of parallel calls do not mix.
    fd = state.open_shared(state.path() + ".calls", os.O_WRONLY | os.O_APPEND)
    os.write(fd, (json.dumps(line) + "\n").encode())
    os.close(fd)
