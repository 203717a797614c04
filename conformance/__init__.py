"""The suite that proves the implementations are one model: `pytest conformance -k jax`."""
