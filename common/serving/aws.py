"""The reading service as a function of AWS Lambda, behind an HTTP API (payload format 2.0) or a function URL.

The runtime interface client looks `common.serving.aws.handler` up once, while the function is initialized. The models
are loaded then. The same application answers as in `fourhands serve`; its settings come from environment variables:

    FOURHANDS_TOKEN           what requests must name as `Authorization: Bearer TOKEN`
    FOURHANDS_WITHOUT_TOKEN   1: let in whoever AWS lets in, such as with the authorization type AWS_IAM
    FOURHANDS_RUN, FOURHANDS_FINDER, FOURHANDS_SECONDS, FOURHANDS_MAX_PIXELS, FOURHANDS_MAX_PAGES,
    FOURHANDS_MAX_LINES, FOURHANDS_LOG_TEXT: as the flags of `fourhands serve` of the same name
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from common.errors import UserError, unknown_name

if TYPE_CHECKING:
    from common.serving.config import ServeConfig
    from common.serving.engine import Engine

Handler = Callable[[dict[str, Any], Any], dict[str, Any]]

_PREFIX = "FOURHANDS_"
_SETTINGS: dict[str, Callable[[str], Any]] = {
    **dict.fromkeys(("run", "finder"), Path),
    "seconds": float,
    **dict.fromkeys(("max_pixels", "max_pages", "max_lines"), int),
    "log_text": lambda value: value == "1",
}
_OTHERS = ("token", "without_token", "data")  # data: the root of data sets, which other commands use
_LEAST_TOKEN = 16  # characters
_MEGABYTES = 4.4  # Lambda takes 6 MB, and the picture comes in base64
_LEFT = 0.5  # seconds before Lambda's own time limit, in which the answer still gets out
_MEGABYTES_A_PROCESSOR = 1769  # docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html
# the others are sent in base64
_TEXT = ["text/", "application/json", "application/problem+json", "application/xml", "image/svg+xml"]


def __getattr__(name: str) -> Any:
    """`handler`, made when it is asked for: importing this module loads no models."""
    if name != "handler":
        raise AttributeError(name)
    globals()[name] = new = build(os.environ)
    return new


def build(environment: Mapping[str, str]) -> Handler:
    """Load the models and make the function's handler.

    Args:
        environment: the settings, as environment variables.

    Raises:
        UserError: a setting that cannot be used, or models that cannot be loaded.
    """
    try:
        from mangum import Mangum
    except ModuleNotFoundError:
        raise UserError('AWS Lambda needs mangum; install it with: pip install "fourhands[lambda]"') from None
    _limit_threads(environment)
    from common.serving import logs
    from common.serving.app import create_app
    from common.serving.inprocess import InProcessEngine
    from common.serving.service import engine_config

    config, token = settings(environment)
    logs.set_up()
    engine = InProcessEngine(engine_config(config, signs=False))
    asyncio.set_event_loop(asyncio.new_event_loop())  # Mangum runs each request in it
    app = create_app(config, cast("Engine", engine), token=token)

    async def with_raw_path(scope: Any, receive: Any, send: Any) -> None:
        scope["raw_path"] = scope["path"].encode()  # Mangum leaves it out
        await app(scope, receive, send)

    # no lifespan: Mangum would start and close the engine with each request
    answer = Mangum(with_raw_path, lifespan="off", text_mime_types=_TEXT)

    def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
        engine.until = time.monotonic() + context.get_remaining_time_in_millis() / 1000 - _LEFT
        return answer(event, context)

    return handler


def _limit_threads(environment: Mapping[str, str]) -> None:
    """Let NumPy, which is imported later, use as many threads as there are processors.

    Lambda shows two processors, but gives less than one below 1,769 MB. Threads that wait for each other then take
    several times as long as one thread.
    """
    memory = environment.get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "")
    threads = max(1, int(memory) // _MEGABYTES_A_PROCESSOR) if memory.isdigit() else 1
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, str(threads))


def settings(environment: Mapping[str, str]) -> tuple[ServeConfig, str | None]:
    """The settings that environment variables give, and the token; None lets everybody in.

    Raises:
        UserError: an unknown variable, a value that cannot be used, or not exactly one of the two that say who may
            come in.
    """
    from common.serving.config import ServeConfig

    given = {
        name.removeprefix(_PREFIX).lower(): value for name, value in environment.items() if name.startswith(_PREFIX)
    }
    values: dict[str, Any] = {}
    for name, value in given.items():
        if name not in (*_SETTINGS, *_OTHERS):
            known = [_PREFIX + each.upper() for each in (*_SETTINGS, *_OTHERS)]
            raise unknown_name("environment variable", _PREFIX + name.upper(), known)
        if name in _SETTINGS and value:
            try:
                values[name] = _SETTINGS[name](value)
            except ValueError:
                raise UserError(f"{_PREFIX}{name.upper()} is {value!r}; expected a number") from None
    token, without = given.get("token", "").strip(), given.get("without_token") == "1"
    if bool(token) is without:
        raise UserError(
            "expected either FOURHANDS_TOKEN or FOURHANDS_WITHOUT_TOKEN=1, which lets in whoever AWS lets in; set one"
        )
    if token and (len(token) < _LEAST_TOKEN or not token.isascii()):
        raise UserError(f"FOURHANDS_TOKEN is not {_LEAST_TOKEN} letters and digits or more; set a longer one")
    # the host is no address: AWS sends what it takes for the function under any name
    config = ServeConfig(host="0.0.0.0", without_token=True, max_mb=_MEGABYTES, **values)
    return config, token or None
