"""How a command inside a container ends."""

import dataclasses


class NotFound(Exception):
    """The program's file is not in the container."""


@dataclasses.dataclass
class Result:
    """How a command ended: standard output, standard error, exit code."""

    out: str = ""
    err: str = ""
    code: int = 0
