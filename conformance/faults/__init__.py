"""The planted faults: mistakes that were made, or nearly made, in one framework or another.

Each is a few words of a source file, replaced. An implementation that a fault does not name cannot make that mistake:
`meaning` says why.
"""

from __future__ import annotations

from conformance.faults import decoder, decoding, lines, model, stem, training
from conformance.planting import Fault

FAULTS: tuple[Fault, ...] = tuple(
    fault for module in (model, training, stem, lines, decoder, decoding) for fault in module.FAULTS
)
