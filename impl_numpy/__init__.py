"""The recognizer written by hand: NumPy (or CuPy) arrays, and a backward function for every layer."""

from impl_numpy.recognizer import build

__all__ = ["build"]
