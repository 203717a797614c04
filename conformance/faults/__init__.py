"""The planted faults: mistakes that were made, or nearly made, in one framework or another.

A fault replaces a few words of a source file. An implementation that is missing from a fault's edits cannot make that
mistake; `meaning` says why.

A package that registers an implementation may bring faults for it: an entry point in the group `fourhands.faults`, under
the implementation's name, whose value is a sequence of `Fault`.
"""

from __future__ import annotations

from importlib.metadata import entry_points

from conformance.faults import decoder, decoding, lines, model, optimizers, pages, shared, stem, training
from conformance.planting import Fault

GROUP = "fourhands.faults"

OWN: tuple[Fault, ...] = tuple(
    fault
    for module in (model, training, optimizers, stem, lines, decoder, decoding, pages, shared)
    for fault in module.FAULTS
)


def _brought() -> tuple[Fault, ...]:
    """The faults of other packages.

    Raises:
        ValueError: a fault edits another implementation than the one that it is registered for.
    """
    found = []
    for point in sorted(entry_points(group=GROUP), key=lambda point: point.name):
        for fault in point.load():
            if set(fault.edits) != {point.name}:
                raise ValueError(
                    f"fault {fault.name!r}, registered in {GROUP} for {point.name!r}, edits {sorted(fault.edits)}; "
                    f"expected an edit of {point.name!r} alone"
                )
            found.append(fault)
    return tuple(found)


FAULTS: tuple[Fault, ...] = (*OWN, *_brought())
