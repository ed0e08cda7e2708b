"""Sums up files of samples that `go run ./test/bench -run create -profile DIR` has written: summary.py FILE ..."""

import collections
import sys

LINES = 12


def whose(stack: list) -> str:
    """The package that a sample is of. One of Python's own library counts for the package that uses it."""
    if any(name.startswith(("importlib.", "_frozen_importlib")) for name in stack):
        return "imports"
    for name in reversed(stack):
        package = name.partition(".")[0]
        if name.startswith("netlab_driver.boxes."):
            return "netlab_driver.boxes"
        if package not in sys.stdlib_module_names and not package.startswith("namedtuple_"):
            return package.replace("__main__", "netlab_driver")
    return "others"


def show(title: str, counts: collections.Counter) -> None:
    print(f"\n  share  {title}")
    for name, count in counts.most_common(LINES):
        print(f"{100 * count / counts.total():6.1f}%  {name}")


for path in sys.argv[1:]:
    packages: collections.Counter = collections.Counter()
    functions: collections.Counter = collections.Counter()
    with open(path, encoding="utf-8") as f:
        for line in f:
            names, _, count = line.rpartition(" ")
            stack = names.split(";")
            packages[whose(stack)] += int(count)
            functions[stack[-1]] += int(count)
    print(f"{path}: {packages.total()} samples")
    show("package", packages)
    show("function, without those that it calls", functions)
    print()
