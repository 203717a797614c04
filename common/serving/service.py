"""The service as a whole: settings, engine, application and server."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from common.errors import UserError, unknown_name
from common.serving import logs, server
from common.serving.app import create_app
from common.serving.config import ServeConfig
from common.serving.engine import Engine, EngineConfig, Limits
from common.serving.monitoring.opening import open_monitor


def serve(config: ServeConfig, *, labels: Any = None, monitor: Any = None) -> int:
    """Serve until SIGTERM or Ctrl+C; the exit code.

    Args:
        config: the settings.
        labels: a folder to label, see `common.serving.labels`.
        monitor: what watches the readings; None makes one unless a folder is labelled, see `open_monitor`.

    Raises:
        UserError: a setting that cannot be used, before anything starts; or models that cannot be loaded.
    """
    token = config.token()
    check_models(config)
    listener = server.listen(config.host, config.port)
    logs.set_up()
    if monitor is None and labels is None:
        monitor = open_monitor(config)
    engine = Engine(engine_config(config, signs=monitor is not None))
    app = create_app(config, engine, token=token, labels=labels, monitor=monitor)
    code = server.run(app, config, listener, engine)
    if engine.failure is not None:
        raise UserError(engine.failure)
    return code


def engine_config(config: ServeConfig, *, signs: bool) -> EngineConfig:
    """The settings of the engine; `signs` says whether somebody watches the signs of the pictures."""
    return EngineConfig(
        run=config.run,
        finder=config.finder,
        framework=config.framework,
        device=config.device,
        workers=config.workers or len(os.sched_getaffinity(0)),
        queue=config.queue,
        wait_ms=config.wait_ms,
        seconds=config.seconds,
        grace=config.grace,
        limits=Limits(pixels=config.max_pixels, pages=config.max_pages, lines=config.max_lines),
        signs=signs,
        watch=config.watch,
    )


def check_models(config: ServeConfig) -> None:
    """Check that the models are there, without building them: the workers do that.

    Raises:
        UserError: no such run, damaged weights, a model of another task, or an unknown framework.
    """
    from common.recognizer import implementations
    from common.training.trained import open_weights

    if config.framework not in implementations():
        raise unknown_name("framework", config.framework, implementations())
    for path, task, name in ((config.run, "reads", "RUN"), (config.finder, "finds", "--finder")):
        if path is not None:
            spec = open_weights(Path(path)).spec
            if (spec.task == "pages") is not (task == "finds"):
                expected = "a run of unet" if task == "finds" else "a model that reads lines or characters"
                raise UserError(f"{path} is a {spec.rung}; expected {expected} as {name}, so name another run")
