"""Two sides measured by turns: how many rounds they need, and what may be said of them.

A side's value is the median of its rounds; it scatters by the spread of the middle half of them (of
three or fewer: of all) over that
median. A machine that others use too is slower for minutes at a time, which hits both sides of a
round alike and one round more than
another: so sides alternate, rounds go on while either scatters, and what still scatters is said to,
without a ratio.
"""
import statistics

MOST_SCATTER = 0.15


def middle_half(values):
    """The lowest and highest of the values that are left without the outer quarters; of three or
    fewer all count."""
    ordered = sorted(values)
    cut = len(ordered) // 4 if len(ordered) > 3 else 0
    kept = ordered[cut:len(ordered) - cut]
    return kept[0], kept[-1]


def scatter(values):
    """The spread of the middle half over the median; of one value it is not known: infinite."""
    if len(values) < 2:
        return float("inf")
    low, high = middle_half(values)
    return (high - low) / statistics.median(values)


def settled(sides):
    return all(scatter(side) <= MOST_SCATTER for side in sides)


def alternate(measure_ours, measure_theirs, least, most):
    """Measures by turns, `least` rounds at least and `most` at most, until neither side scatters:
    two lists of values by name.

    Each measure() gives {name: value}; who goes first alternates too."""
    ours, theirs = {}, {}
    for n in range(most):
        turns = [(ours, measure_ours), (theirs, measure_theirs)]
        for store, measure in turns if n % 2 == 0 else reversed(turns):
            for name, value in measure().items():
                store.setdefault(name, []).append(value)
        sides = list(ours.values()) + list(theirs.values())
        if n + 1 >= least and settled(sides):
            break
    return ours, theirs


def verdict(ours, theirs):
    """Of the values of two sides: medians, scatters, and the ratio of the medians, None where a
    side scatters too much to give one."""
    scatters = scatter(ours), scatter(theirs)
    weft, peer = statistics.median(ours), statistics.median(theirs)
    return {
        "weft": weft, "peer_value": peer, "rounds": len(ours), "weft_scatter": scatters[0],
        "peer_scatter": scatters[1], "ratio": weft / peer if max(scatters) <= MOST_SCATTER else None
    }
