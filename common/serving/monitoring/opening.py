"""The monitor of a service, from its settings."""

from __future__ import annotations

import logging
from pathlib import Path

from common.errors import UserError
from common.evaluation.profile import FILE, Profile
from common.reading.shipped import MODELS
from common.serving.config import ServeConfig
from common.serving.monitoring.monitor import Monitor
from common.serving.monitoring.webhook import Webhook, check_url, read_secret

_LOG = logging.getLogger(__name__)


def open_monitor(config: ServeConfig) -> Monitor:
    """The monitor of a service. A reader without a profile is served all the same, but not compared.

    Raises:
        UserError: messages cannot be sent to `alert_url`, the secret cannot be read, or the profile is damaged.
    """
    webhook = None
    if config.alert_url is not None:
        secret = None if config.alert_secret_file is None else read_secret(config.alert_secret_file)
        webhook = Webhook(check_url(config.alert_url), secret)
    path = profile_file(config.run)
    profile = None
    if path.is_file():
        profile = Profile.load(path)
    else:
        _LOG.warning("there is no %s beside the model; what comes in is not compared with anything", FILE)
        if webhook is not None:
            raise UserError(f"--alert-url needs {path}, which does not exist; train the run again, or leave it out")
    return Monitor(profile, profile_file=path, window=config.window, webhook=webhook, log=config.log_signs)


def profile_file(run: Path | None) -> Path:
    """Where the profile of a run is, or that of the reader that ships."""
    if run is None:
        return MODELS / FILE
    return (run if run.is_dir() else run.parent) / FILE
