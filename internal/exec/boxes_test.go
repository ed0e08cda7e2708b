package exec_test

import "testing"

// A box that is made in less time has the same in it as one of the library's, and the same options, or the same error.
func TestBoxesAreTheLibrarys(t *testing.T) {
	t.Parallel()
	setup(t, nil).driver(t, `
import pickle, random
from box import Box, BoxList
from netlab_driver import boxes

random.seed(1)
KEYS = ["a", "b", "default", "_x", "class", "None", "a.b", "a.b.c", "x[0]", "[0]", ".", "r1-r2", "", " ", "é", "keys", "_box_config", 1, True, 1.5, None, (1, 2), b"b"]
LEAVES = [None, True, 0, 2.5, "", "text", b"bytes", {1}, frozenset(), (), ({"t": 1}, [2]), 1j, range(2)]

class Odd(dict):
    pass

class Own(Box):
    pass

def value(depth):
    roll = random.random()
    if depth == 0 or roll < 0.4:
        return random.choice(LEAVES)
    if roll < 0.5:
        return [value(depth - 1) for _ in range(random.randrange(3))]
    if roll < 0.55:
        return BoxList([value(depth - 1)])
    return random.choice([dict, dict, dict, dict, Box, Odd])(tree(depth - 1))

def tree(depth):
    # Plain keys more often: with the others most boxes are errors.
    keys = KEYS[:5] if random.random() < 0.8 else KEYS
    return {random.choice(keys): value(depth) for _ in range(random.randrange(5))}

def recursive(**options):
    tree = {"before": {"c": 1}, "after": [1]}
    tree["self"] = tree
    return Box(tree, **options)

OPTIONS = [boxes.NETLAB, {}, {"box_dots": True}] * 5 + [
    {"default_box": True}, {"default_box": True, "default_box_attr": list, "default_box_none_transform": False}, {"box_namespace": ("n",)},
    {"box_namespace": False}, {"frozen_box": True}, {"camel_killer_box": True}, {"conversion_box": False}, {"modify_tuples_box": True},
    {"box_safe_prefix": "y"}, {"box_duplicates": "error"}, {"box_intact_types": [Odd]}, {"box_recast": {"a": str}}, {"box_class": Box},
    {"box_dots": True, "box_dots_exclude": "a.*"}, {"default_box_create_on_get": False, "default_box": True}, {"unknown": {"a": 1}},
]

def outcome(call):
    try:
        made = call()
        return pickle.dumps((type(made), made, made.to_dict()))
    except Exception as ex:
        return type(ex), str(ex)

def compare():
    for _ in range(300):
        one, two, options, more = tree(4), tree(3), random.choice(OPTIONS), random.choice(OPTIONS)
        yield lambda: Box(one, **options)
        yield lambda: Box(Box(one, **options), **more)
        yield lambda: Box(one, **options) + Box(two, **options)
        yield lambda: Box(one, **options).copy()
        yield lambda: (lambda box: box.a.b.merge_update(two) or box)(Box(one, **options))
        yield lambda: Own(one, **options)
        yield lambda: Box(one, two, **options)
        yield lambda: Box(list(one.items()), **options)
    for options in OPTIONS:
        yield lambda: recursive(**options)

calls = 0
library = Box.__init__
boxes.use()
quick = Box.__init__
assert quick is not library, "they are the library's"
boxes.use()
assert Box.__init__ is quick
for call in compare():
    before = random.getstate()
    got = outcome(call)
    Box.__init__ = library
    want = outcome(call)
    Box.__init__ = quick
    calls += not isinstance(want, tuple)
    assert got == want, (got, want)
assert calls > 1000, calls
`)
}

// Another version of the library may make other boxes: these are Netlab's then.
func TestLibraryOfOtherBoxesIsLeftAlone(t *testing.T) {
	t.Parallel()
	setup(t, nil).driver(t, `
from box import Box
from netlab_driver import boxes

library = Box.__init__

def later(self, *args, **options):
    library(self, *args, **options)
    self._box_config["size"] = len(self)

Box.__init__ = later
boxes.use()
assert Box.__init__ is later
`)
}
