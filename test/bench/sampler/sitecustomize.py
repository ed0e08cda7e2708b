"""Samples where Netlab's runs spend processor time, in each process of a run. The interpreter imports this before it starts the driver.

With each tick of the process's processor time the functions that are being called are noted. A process that leaves appends them to the
file BENCH_SAMPLES, a line for each stack of functions: "module.function;module.function N". What is written in C counts for the function
that calls it.
"""

import atexit
import collections
import os
import signal
import sys
import types
from typing import Callable, Optional

SAMPLES = os.environ.pop("BENCH_SAMPLES")  # a run is to have neither variable, nor this folder
del os.environ["PYTHONPATH"]
sys.path.remove(os.path.dirname(os.path.abspath(__file__)))

BEGUN = 6  # bytes of code: Python looks at signals as a function begins, and what has gone by until then is its caller's

end = os._exit
stacks: collections.Counter = collections.Counter()


def note(_: int, frame: Optional[types.FrameType]) -> None:
    if frame and frame.f_lasti < BEGUN:
        frame = frame.f_back
    names = []
    while frame:
        names.append(f"{frame.f_globals.get('__name__', 'templates')}.{frame.f_code.co_qualname}")
        frame = frame.f_back
    stacks[";".join(reversed(names))] += 1


def start() -> None:
    """In a new process, which a timer of its parent's does not tick for."""
    stacks.clear()
    signal.signal(signal.SIGPROF, note)
    signal.setitimer(signal.ITIMER_PROF, 0.001, 0.001)


def stop() -> None:
    signal.setitimer(signal.ITIMER_PROF, 0)
    # What the warm parent has another process prepare is no run's.
    lines = [f"{stack} {count}\n" for stack, count in stacks.items() if "Ready.attempt" not in stack]
    with open(SAMPLES, "ab", buffering=0) as f:
        f.write("".join(lines).encode())


def leave(code: int) -> None:
    """What a fork ends by."""
    stop()
    end(code)


def show_boxes() -> None:
    """Let python-box's functions, which are compiled, be seen as functions."""
    import box

    def shown(function: Callable) -> Callable:
        def call(*args: object, **options: object) -> object:
            return function(*args, **options)

        code = call.__code__.replace(co_name=function.__name__, co_qualname=function.__qualname__)
        return types.FunctionType(code, {"__name__": "box"}, function.__name__, None, call.__closure__)

    for kind in (box.Box, box.BoxList):
        for name, function in list(vars(kind).items()):
            if type(function).__name__ == "cython_function_or_method":
                setattr(kind, name, shown(function))


if sys.argv[1:2] in (["run"], ["warm"]):
    os._exit = leave
    os.register_at_fork(after_in_child=start)
    if sys.argv[1] == "run":
        start()
        atexit.register(stop)
    show_boxes()
