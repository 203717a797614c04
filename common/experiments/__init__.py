"""Runs and sweeps: find run folders, compare them, choose among them."""
