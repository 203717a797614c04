"""The command `fourhands serve`."""

from __future__ import annotations

from dataclasses import dataclass

from common.errors import UserError
from common.serving.config import ServeConfig

_NEEDED = ("fastapi", "uvicorn", "prometheus_client", "python_multipart")


@dataclass(frozen=True, kw_only=True)
class Serve(ServeConfig):
    """Serve a reader: over HTTP, with a web page, limits, logs and metrics."""

    def __call__(self) -> int:
        """Serve until SIGTERM or Ctrl+C."""
        check_installed()
        from common.serving.service import serve

        return serve(self)


def check_installed() -> None:
    """Check that what the service stands on is installed.

    Raises:
        UserError: it says what to install.
    """
    from importlib.util import find_spec

    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        raise UserError(
            f'serving needs {", ".join(missing)}; install what is missing with: pip install "fourhands[serve]"'
        )
