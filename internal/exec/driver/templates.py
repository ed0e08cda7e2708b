"""Netlab's own templates, compiled: to compile them takes a fifth of the time of a short create."""

from __future__ import annotations

import os.path
from typing import Any, Callable, Optional

import jinja2
from netsim.utils import templates

LIMIT = 1000  # templates that are kept; Netlab has fewer


class Templates(jinja2.BytecodeCache):
    """The code of templates in the package's folder, by their names and files. One whose text has changed is compiled anew."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.codes: dict = {}  # each with the checksum of the text
        self.known: dict = {}  # the name and file of each, the oldest first
        self.note: Optional[Callable] = None  # called with the name and file of what was not here
        self.environment = templates.get_jinja2_env_for_path
        templates.get_jinja2_env_for_path = self.cached  # type: ignore[assignment]

    def cached(self, *args: Any) -> jinja2.Environment:
        """Netlab's environment for these folders, which finds code here."""
        environment = self.environment(*args)
        environment.bytecode_cache = self
        return environment

    def wants(self, name: str, path: str) -> bool:
        """Whether this template is to be compiled. So it is once, until it is let go as the oldest one."""
        if (name, path) in self.known or not self.is_own(path) or not path.endswith(f"/{name}") or not os.path.isfile(path):
            return False
        self.known[name, path] = True
        if len(self.known) > LIMIT:
            oldest = next(iter(self.known))
            del self.known[oldest]
            self.codes.pop(self.get_cache_key(*oldest), None)
        return True

    def is_own(self, path: str) -> bool:
        return path.startswith(f"{self.folder}/") and path.endswith(".j2") and path == os.path.normpath(path)

    def compile(self, name: str, path: str) -> None:
        if (name, path) not in self.known:
            return
        environment: Any = self.environment.__wrapped__(())
        with open(path, encoding=environment.loader.encoding) as f:
            text = f.read()
        bucket = self.get_bucket(environment, name, path, text)
        self.codes[bucket.key] = (bucket.checksum, environment.compile(text, name, path))

    def get_bucket(self, environment: jinja2.Environment, name: str, filename: Optional[str], source: str) -> Any:
        bucket: Any = super().get_bucket(environment, name, filename, source)
        bucket.template = (name, filename)
        return bucket

    def load_bytecode(self, bucket: Any) -> None:
        checksum, code = self.codes.get(bucket.key, ("", None))
        if checksum == bucket.checksum:
            bucket.code = code

    def dump_bytecode(self, bucket: Any) -> None:
        name, path = bucket.template
        if self.note and path and self.is_own(path):
            self.note(name, path)
