"""The tree up which answers travel: hosts in the order of a view, as a heap in which each has up to `fanout` below it.

Source: Birman, "Isis2" (aggregation over a tree of the members); the shape is that of a d-ary heap.
"""


def above(index: int, fanout: int) -> int | None:
    """The host above; None for the root."""
    return (index - 1) // fanout if index else None


def below(index: int, size: int, fanout: int) -> range:
    """The hosts right below, in a tree of `size`."""
    first = index * fanout + 1
    return range(min(first, size), min(first + fanout, size))


def depth(size: int, fanout: int) -> int:
    """Steps from the deepest host to the root."""
    steps, last = 0, size - 1
    while (up := above(last, fanout)) is not None:
        steps, last = steps + 1, up
    return steps
