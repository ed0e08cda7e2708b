"""Netlab's boxes, made in less time: Netlab copies the topology with all of its defaults again and again, and half of the time of a
short create is what python-box does for each key of a copy."""

from __future__ import annotations

import functools
import pickle
from keyword import iskeyword
from typing import Any, Callable

from box import Box

SIMPLE = frozenset((str, int, float, bool, type(None)))  # what a box keeps as it is
# The options that change nothing of what is done here. A box with any other is the library's.
FREE = frozenset(("default_box", "default_box_none_transform", "default_box_create_on_get", "box_dots", "box_namespace"))
NETLAB = {"default_box": True, "default_box_none_transform": False, "box_dots": True}  # the options of Netlab's boxes
SAMPLE = {"a": {"b": {"c": None, "d": [1, {"e": {"f": [[]]}}], "g.h": {}, "class": 1.5}, 1: {"i": True}}, "j-k": ({},), "l": {2}}


@functools.cache
def use() -> None:
    """Make boxes of maps here from now on, in this process. A python-box that makes others of them is left alone."""
    library: Any = Box.__init__
    try:
        made = make(SAMPLE)
        Box.__init__ = initializer(library)  # type: ignore[method-assign]
        if make(SAMPLE) != made:
            raise ValueError("these boxes are not the library's")
    except Exception:
        Box.__init__ = library  # type: ignore[method-assign]


def make(sample: dict) -> bytes:
    """A box of the sample and a box of that, with their options and all that is in them."""
    box = Box(sample, **NETLAB)
    return pickle.dumps((box, Box(box, **NETLAB)))


def initializer(library: Callable) -> Callable:
    """An __init__ for boxes that does what the library's does, and leaves to that whatever is out of the ordinary."""
    plain = Box()._box_config

    def init(self: Any, *args: Any, **options: Any) -> None:
        config = {**plain, **options, "__safe_keys": {}, "__created": False}
        drops_none = config["default_box"] and config["default_box_none_transform"]
        if (
            len(args) == 1
            and type(self) is Box
            and type(args[0]) in (dict, Box)
            and not drops_none
            and config["box_namespace"] is not False
            and all(name in FREE or (name in plain and value == plain[name]) for name, value in options.items())
        ):
            fill(self, args[0], config)
        else:
            library(self, *args, **options)

    return init


def fill(box: Any, source: dict, config: dict) -> None:
    """Put into a new box what is in the source. Maps in it become boxes, too, with the same options but for the names above them."""
    object.__setattr__(box, "_box_config", config)
    names, safe_keys = config["box_namespace"], config["__safe_keys"]
    for key, value in source.items():
        kind = type(value)
        is_map = (kind is Box or kind is dict) and value is not source
        if type(key) is not str or not key.isidentifier() or iskeyword(key) or not (is_map or kind in SIMPLE):
            box[key] = box if value is source else value
            continue
        if is_map:
            own = config.copy()
            own["box_namespace"], own["__safe_keys"] = (*names, key), {}
            child = dict.__new__(Box)
            fill(child, value, own)
            value = child
        safe_keys[key] = key
        dict.__setitem__(box, key, value)
    config["__created"] = True
