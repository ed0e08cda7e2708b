"""Knobs: what a test wants a step to do, from knobs.json beside the state file. README.md describes them."""

import json

import os

from . import state


def take(step, line):
    """The first knob of a step that fits the command line and is not used up; {} without one.

    A knob with "times" is used up when that has counted down to 0, in the file itself.
    """
    name = os.path.join(state.folder(), "knobs.json")
    if not os.path.exists(name):
        return {}
    with state.locked():
        with open(name, encoding="utf-8") as file:
            steps = json.load(file)
        knobs = steps.get(step, [])
        for knob in [knobs] if isinstance(knobs, dict) else knobs:
            if knob.get("match", "") not in line:
                continue
            if "times" in knob:
                if knob["times"] <= 0:
                    continue
                knob["times"] -= 1
                state.replace(name, steps)
            return knob
    return {}
