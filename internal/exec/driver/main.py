"""Runs Netlab for the worker, from Netlab's own modules: no shell, no netlab script.

    main.py run DIR [ENV-FD [PLACE-FD]]   runs the commands of DIR/plan.json, then writes DIR/result.json
    main.py netlab DIR COMMAND [ARG ...]  a `netlab COMMAND ...` that one of those commands starts by itself
    main.py query [--instance ID] ...     what `netlab status` shows, as JSON or as text
    main.py forget DIR STATUS-FILE        removes the entries of that directory, where nothing is left, from the file
    main.py ask ANSWER-FD PLACE-FD TEXT   what a node of a lab shows, or a lab's graph: see questions.py
    main.py warm FD IDLE OLDEST ROOM      runs whatever the worker asks for at the other end of the socket: see warm.py
    main.py probe OLDEST                  which Netlab this interpreter has, as one line of JSON; OLDEST is the minimum
"""

import os
import sys
import types

HERE = os.path.dirname(os.path.realpath(__file__))

# This folder must not shadow a module of the interpreter's or of Netlab's: its files are a package of their own.
if sys.path and os.path.realpath(sys.path[0]) == HERE:
    del sys.path[0]
package = types.ModuleType("netlab_driver")
package.__path__ = [HERE]
sys.modules["netlab_driver"] = package


def main(argv: list) -> int:
    verb, args = (argv[0] if argv else ""), argv[1:]
    if verb == "run" and 0 < len(args) < 4:
        from netlab_driver import run

        return run.run(args[0], args[1:])
    if verb == "warm" and len(args) == 4:
        from netlab_driver import warm

        return warm.serve(int(args[0]), float(args[1]), args[2])
    if verb == "netlab" and len(args) > 1:
        from netlab_driver import command

        return command.nested(args[0], args[1], args[2:])
    if verb == "query":
        from netlab_driver import labs

        return labs.query(args)
    if verb == "forget" and len(args) == 2:
        from netlab_driver import labs

        return labs.forget(args[0], args[1])
    if verb == "ask" and len(args) == 3:
        from netlab_driver import questions

        return questions.ask(int(args[0]), int(args[1]), args[2])
    if verb == "probe" and len(args) == 1:
        from netlab_driver import install

        return install.probe(args[0])
    print(__doc__, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
