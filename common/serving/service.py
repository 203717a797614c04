"""The service as a whole: settings, engine, application and server."""

from __future__ import annotations

from typing import Any

from common.serving import server
from common.serving.app import create_app
from common.serving.config import ServeConfig


def serve(config: ServeConfig, *, labels: Any = None, monitor: Any = None) -> int:
    """Serve until SIGTERM or Ctrl+C.

    Raises:
        UserError: a setting that cannot be used, before anything starts.
    """
    token = config.token()
    engine = _engine(config)
    listener = server.listen(config.host, config.port)
    app = create_app(config, engine, token=token, labels=labels, monitor=monitor)
    return server.run(app, config, listener)


def _engine(config: ServeConfig) -> Any:
    from common.serving.standin import Standin

    return Standin(config)
