"""Where Netlab searches for a file in several folders, or by a pattern: one that comes to be there changes the lab."""

from __future__ import annotations

import os
from typing import Callable

from netlab_driver import hooks


def watch(looked: Callable, matched: Callable) -> None:
    """Call looked(paths) before Netlab takes the first of these files that is there, and matched(pattern) before it takes all that match."""
    import jinja2
    from netsim.augment import plugin
    from netsim.utils import files, templates, versioning

    def each(folders: list, *names: str) -> None:
        looked([os.path.join(folder, name) for folder in folders for name in names])

    def versioned(topology: str) -> None:
        stem, ending = os.path.splitext(topology)
        matched(f"{stem}.*.*{ending}")

    absolute_path = files.absolute_path
    # A folder of a plugin's name is one of a plugin only with one of these files.
    hooks.around(plugin, "load_plugin_from_path", lambda folder, name, _: each([folder], f"{name}/__init__.py", f"{name}/plugin.py", f"{name.removesuffix('.py')}.py"))
    hooks.around(plugin, "load_plugin_defaults", lambda folder, _: each([folder], "defaults.yml"))
    hooks.around(files, "absolute_path", lambda *args: looked([str(absolute_path(*args))]))  # of the files with defaults
    hooks.around(files, "get_globbed_files", lambda folder, pattern: matched(os.path.join(folder, pattern)))  # of _include
    hooks.around(versioning, "get_versioned_topology", versioned)
    hooks.around(jinja2.FileSystemLoader, "get_source", lambda loader, _, name: each(loader.searchpath, name))
    for module in (files, templates):  # the one has it of the other
        hooks.around(module, "find_file", lambda name, folders: each(folders, name))
