"""A small shell: simple commands joined by ; && || and newlines, in quotes and parentheses, redirections ignored."""

import re
import shlex

from .result import NotFound, Result

# Ansible makes its folder names with: "` echo ~/.ansible/tmp `"
ECHO = re.compile(r"`\s*echo\s+([^`]*?)\s*`")
JOINTS = (";", "&&", "||")


def without_options(words, with_value):
    """The words behind the options in front."""
    rest = list(words)
    while rest and rest[0].startswith("-") and len(rest[0]) > 1:
        option = rest.pop(0)
        if option in with_value and rest:
            rest.pop(0)
    return rest


def run(script, guest):
    """Run a script in a guest and return a Result with all the output and the last exit code."""
    total = Result()
    for joint, words in commands(script):
        if (joint == "&&" and total.code != 0) or (joint == "||" and total.code == 0):
            continue
        try:
            result = guest.run(words)
        except NotFound as error:
            result = Result(err=f"sh: {error}: not found\n", code=127)
        total = Result(total.out + result.out, total.err + result.err, result.code)
        if words[0] == "exit":
            break
    return total


def commands(script):
    """Split a script into (joint before it, words) pairs."""
    script = "\n".join(line for line in script.splitlines() if not line.lstrip().startswith("#"))
    lexer = shlex.shlex(ECHO.sub(r"\1", script).replace("\n", " ; "), posix=True, punctuation_chars="();<>|&")
    lexer.whitespace_split = True
    lexer.commenters = ""
    found, joint, words, skip = [], ";", [], False
    for token in list(lexer) + [";"]:
        if token in JOINTS:
            if words:
                found.append((joint, words))
            joint, words, skip = token, [], False
        elif token.startswith((">", "<")):
            skip = True
            if words and words[-1].isdigit():
                words.pop()
        elif skip:
            skip = False
        elif token not in ("(", ")", "&", "|"):
            words.append(token)
    return found
