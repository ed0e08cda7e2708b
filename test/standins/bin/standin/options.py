"""Command line options, parsed no further than the stand-ins need."""


def parse(args, with_value, stop=False):
    """Split arguments into options (name -> list of values, None for a flag) and operands.

    with_value names the options that take a value; stop ends the options at the first operand.
    """
    options, operands = {}, []
    rest = list(args)
    while rest:
        word = rest.pop(0)
        if word == "--":
            return options, operands + rest
        if not word.startswith("-") or word == "-":
            operands.append(word)
            if stop:
                return options, operands + rest
            continue
        name, equals, value = word.partition("=")
        if name in with_value and not equals:
            value, equals = (rest.pop(0) if rest else ""), "="
        options.setdefault(name, []).append(value if equals else None)
    return options, operands


def every(options, *names):
    """All values of an option, whichever of its names was used."""
    return [value for name in names for value in options.get(name, []) if value is not None]


def last(options, *names):
    """The last value of an option, or None."""
    values = every(options, *names)
    return values[-1] if values else None
