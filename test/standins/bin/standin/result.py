"""How a command inside a container ends."""


class NotFound(Exception):
    """The program's file is not in the container."""


class Result:
    """How a command ended: standard output, standard error, exit code."""

    def __init__(self, out="", err="", code=0):
        self.out = out
        self.err = err
        self.code = code
