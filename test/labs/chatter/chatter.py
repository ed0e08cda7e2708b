"""A plugin that makes a run of Netlab slow, talkative, or crash, as chatter.json beside this file says.

Every key of chatter.json may be missing, and so may the file:

    lines     how many lines are written to standard output
    bytes     length of a line in bytes, its end included (64 without)
    delay     seconds between two lines
    parts     what is written behind the lines, a write each, with 0.2 seconds between two: strings of which each character is a byte
    ignore    signals that the process ignores from here on: "INT", "TERM"
    gate      a file's path, relative to this folder: PATH.reached is made, then the run waits until PATH exists
    seconds   seconds of silence behind the lines and the gate
    crash     how it ends: "exception", "exit" (code 3), "kill" (by SIGKILL); without it the run goes on
"""

import json
import os
import signal
import sys
import time

FOLDER = os.path.dirname(os.path.abspath(__file__))


def init(topology):
    """Netlab calls this before it looks at the topology."""
    options = read_options()
    for name in options.get("ignore", []):
        signal.signal(getattr(signal, "SIG" + name), signal.SIG_IGN)
    chat(options.get("lines", 0), options.get("bytes", 64), options.get("delay", 0))
    say(options.get("parts", []))
    if "gate" in options:
        pass_gate(os.path.join(FOLDER, options["gate"]))
    time.sleep(options.get("seconds", 0))
    if "crash" in options:
        crash(options["crash"])


def read_options():
    """The content of chatter.json; {} without the file."""
    try:
        with open(os.path.join(FOLDER, "chatter.json"), encoding="utf-8") as file:
            return json.load(file)
    except FileNotFoundError:
        return {}


def chat(lines, length, delay):
    """Write numbered lines: "chatter 1 of 3 ......"."""
    for number in range(1, lines + 1):
        line = f"chatter {number} of {lines} "
        sys.stdout.write(line + "." * (length - 1 - len(line)) + "\n")
        if delay:
            sys.stdout.flush()
            time.sleep(delay)
    sys.stdout.flush()


def say(parts):
    """Write bytes, one part after the other."""
    for number, part in enumerate(parts):
        if number:
            time.sleep(0.2)
        sys.stdout.buffer.write(part.encode("latin-1"))
        sys.stdout.buffer.flush()


def pass_gate(path):
    """Say that the gate is reached, and wait until it is open."""
    with open(path + ".reached", "w", encoding="utf-8"):
        pass
    while not os.path.exists(path):
        time.sleep(0.02)


def crash(how):
    """End the run."""
    if how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "exit":
        sys.exit(3)
    raise RuntimeError("chatter: crash as asked for")
