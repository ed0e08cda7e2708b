"""How containers are shown: ids, status texts, containerlab's table."""

import hashlib
import time


def full_id(name):
    """A container's id: 64 hexadecimal digits that follow from its name."""
    return hashlib.sha256(name.encode()).hexdigest()


def short_id(name):
    """The first 12 digits of the id."""
    return full_id(name)[:12]


def ago(seconds):
    """A duration in Docker's words."""
    for size, unit in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= size:
            count = int(seconds // size)
            return f"{count} {unit}{'s' if count != 1 else ''}"
    count = max(int(seconds), 1)
    return f"{count} second{'s' if count != 1 else ''}"


def status(container):
    """Docker's status text: "Up 3 seconds", "Created", "Exited (137) 2 minutes ago"."""
    if container["state"] == "running":
        return "Up " + ago(time.time() - container["started"])
    if container["state"] == "exited":
        return f"Exited (137) {ago(time.time() - container['stopped'])} ago"
    return container["state"].capitalize()


def boxed(heading, rows):
    """containerlab's table. A row is a list of cells, a cell a list of lines."""
    columns = range(len(heading))
    width = [max([len(heading[i])] + [len(line) for row in rows for line in row[i]]) for i in columns]

    def border(left, middle, right):
        return left + middle.join("─" * (width[i] + 2) for i in columns) + right + "\n"

    text = border("╭", "┬", "╮")
    text += "│" + "│".join(f" {heading[i]:^{width[i]}} " for i in columns) + "│\n"
    for row in rows:
        text += border("├", "┼", "┤")
        for line in range(len(row[0])):
            text += "│" + "│".join(f" {row[i][line]:<{width[i]}} " for i in columns) + "│\n"
    return text + border("╰", "┴", "╯")
