"""The recognizer by hand: NumPy (or CuPy) arrays, every backward written out."""

from impl_numpy.recognizer import build

__all__ = ["build"]
