"""A hash of the content of a data set, whatever the order and the names of its files."""

# N examples

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np
from jaxtyping import UInt8

_BYTES = 16


def fingerprint(examples: Iterable[tuple[UInt8[np.ndarray, "_ _"], str]]) -> str:
    """The hash of examples, each an image with its truth.

    The digests of the examples are added up modulo 2^128, so their order has no effect, but a repeated example has.
    Names, paths and writers have no effect either.

    Args:
        examples: image, uint8, and what it shows: a character, a text, or the lines of a page.

    Returns:
        32 hexadecimal digits.
    """
    total = count = 0
    for image_HW, truth in examples:
        digest = hashlib.blake2b(repr(image_HW.shape).encode(), digest_size=_BYTES)
        digest.update(image_HW.tobytes())
        digest.update(truth.encode("utf-8", "surrogatepass"))
        total += int.from_bytes(digest.digest(), "big")
        count += 1
    # the sum alone is no hash: the digest of the sum and the number is one, of the same length
    summary = f"{total % (1 << 8 * _BYTES)}:{count}".encode()
    return hashlib.blake2b(summary, digest_size=_BYTES).hexdigest()
