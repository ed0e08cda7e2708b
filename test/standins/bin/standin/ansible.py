"""Ansible's modules inside a container: told apart by name and arguments, and answered instead of run.

The module "command" runs its command in the guest; every other module answers that it has changed nothing.
"""

import ast
import json
import shlex

from . import shell
from .result import NotFound, Result

MARK = "ansible module: "


def reduce(text):
    """The essence of a module that Ansible sends (a Python file of 100 KiB and more); other text as it is.

    Ansible's wrapper differs from version to version; common to all is that it holds the arguments, the module's
    name among them, as a string of JSON.
    """
    if "ANSIBLE_MODULE_ARGS" not in text:
        return text
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Constant) and isinstance(node.value, (str, bytes)):
            value = node.value if isinstance(node.value, str) else node.value.decode("utf-8", "replace")
            if value.startswith("{") and '"ANSIBLE_MODULE_ARGS"' in value:
                return MARK + json.dumps(json.loads(value)["ANSIBLE_MODULE_ARGS"])
    return text


def run(text, guest):
    """Answer a reduced module; a script that is none is silent."""
    if not text.startswith(MARK):
        return Result()
    args = json.loads(text[len(MARK):])
    if args.get("_ansible_module_name", "").rpartition(".")[2] != "command":
        return Result(json.dumps({"changed": False}) + "\n")
    line = args.get("_raw_params") or ""
    words = args.get("argv") or shlex.split(line)
    try:
        result = shell.run(line, guest) if args.get("_uses_shell") else guest.run(words)
    except NotFound as error:
        failure = {"failed": True, "rc": 2, "cmd": words, "msg": f"No such file or directory: {error}"}
        return Result(json.dumps(failure) + "\n", code=1)
    answer = {
        "changed": True,
        "cmd": words,
        "rc": result.code,
        "stdout": result.out.rstrip("\n"),
        "stderr": result.err.rstrip("\n"),
        "failed": result.code != 0,
        "msg": "non-zero return code" if result.code else "",
    }
    return Result(json.dumps(answer) + "\n", code=1 if result.code else 0)
