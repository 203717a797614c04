"""The application: its addresses, and what each does."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Collection
from typing import TYPE_CHECKING, Any, cast, get_args

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse, Response

from common.errors import NoWritingError, UserError
from common.reading.formats.xml import program_version
from common.reading.page import Kind
from common.serving import answers, openapi, problems, static, urls
from common.serving.access import PROBES, Access
from common.serving.answers import FORMS, Form
from common.serving.body import (
    JSON_BYTES,
    ClientLeft,
    LimitBody,
    Upload,
    decode_base64,
    file_name,
    json_limit,
    parse_json,
    read_all,
    read_multipart,
    short,
)
from common.serving.config import ServeConfig
from common.serving.frame import Frame, record_of, unexpected
from common.serving.logs import log
from common.serving.metrics import Metrics
from common.serving.models import Model, State, readings_of
from common.serving.problems import Problem
from common.serving.reply import QueueFullError, Reply, TooLargeError, TooLateError, WorkerLostError

if TYPE_CHECKING:
    from common.serving.engine import Engine

_HELD = 16  # bodies of the largest size that are in memory at one time


def create_app(
    config: ServeConfig, engine: Engine, *, token: str | None, labels: Any = None, monitor: Any = None
) -> FastAPI:
    """The service as an ASGI application. Its lifespan starts and closes the engine."""

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await engine.start()
        try:
            yield
        finally:
            await engine.close()
            if monitor is not None:
                await asyncio.to_thread(monitor.close)

    app = FastAPI(
        title="fourhands",
        version=program_version(),
        summary="Reads handwriting: a page, a line or a character.",
        description=openapi.DESCRIPTION,
        lifespan=lifespan,
        responses=openapi.ERRORS,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    metrics = Metrics(engine)
    app.state.config, app.state.engine, app.state.metrics = config, engine, metrics
    observers: list[Callable[[Reply], None]] = []
    app.state.observers, app.state.monitor = observers, monitor
    assets = static.load_assets(label=labels is not None)
    open_paths = [*static.open_paths(assets), *(() if monitor is None else monitor.open_paths)]
    _add_errors(app)
    _add_routes(app, config, engine, metrics)
    app.include_router(static.router(assets))
    if labels is not None:
        from common.serving.label_routes import label_router

        app.include_router(label_router(labels, engine))
    if monitor is not None:
        app.include_router(monitor.router())
        observers.append(monitor.observe)
        metrics.add(monitor.metrics)
    _describe(app, token=token is not None, open_paths=[*PROBES, *open_paths])
    largest = json_limit(config.max_bytes)
    # the last that is added is the first that is called
    app.add_middleware(
        LimitBody,
        limits={"/v1/read": largest},
        default=JSON_BYTES,
        seconds=config.upload_seconds,
        held=_HELD * max(largest, JSON_BYTES),
    )
    app.add_middleware(Access, config=config, token=token, open_paths=open_paths)
    paths = {*open_paths, *(getattr(route, "path", "") for route in app.routes)}
    app.add_middleware(Frame, answered=metrics.answered, drained=largest, paths=paths)
    return app


def _describe(app: FastAPI, *, token: bool, open_paths: list[str]) -> None:
    made = app.openapi

    def described() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = openapi.complete(made(), token=token, open_paths=open_paths)
        return app.openapi_schema

    app.openapi = described  # type: ignore[method-assign]


def _add_errors(app: FastAPI) -> None:
    def refuse(request: Request, error: Exception) -> Response:
        problem = problem_of(error)
        record = record_of(request)
        record.fields.setdefault("problem", problem.kind)
        if problem.kind == "failed":
            log(logging.ERROR, "unexpected error", error=error, request=record.id)
        return problems.answer(problem, record.id)

    for kind in (HTTPException, RequestValidationError, UserError, QueueFullError, TooLateError, WorkerLostError):
        app.add_exception_handler(kind, refuse)


def problem_of(error: Exception) -> Problem:
    """The problem that says what an exception means to a client."""
    match error:
        case Problem():
            return error
        case HTTPException():
            return problems.of_status(error.status_code, _said(error), error.headers)
        case RequestValidationError():
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"][1:]) or str(first["loc"][0])
            return Problem("wrong-value", f"{where}: {first['msg']}; /openapi.json says what is expected")
        case TooLargeError():
            return Problem("too-large", str(error), limit=getattr(error, "limit", None))
        case UserError():
            return Problem("cannot-read", str(error))
        case QueueFullError():
            return Problem(
                "busy",
                f"too many pictures wait to be read; try again in {error.retry_after} s",
                headers={"Retry-After": str(error.retry_after)},
            )
        case TooLateError():
            return Problem("too-late", f"{error}; send a smaller picture or fewer pages, or try again")
        case WorkerLostError():
            return Problem(
                "worker-lost",
                "the process that read the picture ended; it is started again, so try once more",
                headers={"Retry-After": "2"},
            )
    return unexpected()


def _said(error: HTTPException) -> str:
    match error.status_code:
        case 404:
            return "there is nothing at this address; /openapi.json lists those that there are"
        case 405:
            return "this address does not take this method; /openapi.json says which it takes"
    return str(error.detail)


# --- what a request may ask
def parameter(request: Request, name: str, choices: Collection[str]) -> str | None:
    """The value of a parameter of the query, or None.

    Raises:
        Problem: it has another value, or is named twice.
    """
    given = request.query_params.getlist(name)
    if len(given) > 1:
        raise Problem("wrong-value", f"the parameter {name} is there twice; send it once")
    if given and given[0] not in choices:
        raise Problem("wrong-value", f"{name} is {short(given[0])}; choose one of {', '.join(choices)}")
    return given[0] if given else None


def refuse_unknown(names: Collection[str], known: Collection[str], what: str) -> None:
    """Refuse a name that is not known.

    Raises:
        Problem: it names the first one.
    """
    for name in names:
        if name not in known:
            expected = f"known are {', '.join(known)}" if known else "none is known here"
            raise Problem("wrong-value", f"unknown {what} {short(name)}; {expected}")


def _add_routes(app: FastAPI, config: ServeConfig, engine: Engine, metrics: Metrics) -> None:
    @app.post("/v1/read", responses=openapi.read_answers(), openapi_extra=openapi.read_operation())
    async def read(request: Request) -> Response:
        """Read a picture or a document."""
        refuse_unknown(list(request.query_params), ("as", "format"), "parameter")
        kind = cast("Kind | None", parameter(request, "as", get_args(Kind)))
        form = cast("Form | None", parameter(request, "format", FORMS))
        what = answers.wanted(form, ", ".join(request.headers.getlist("accept")))
        if not engine.ready:
            raise _not_ready(engine)
        upload = await _upload(request, config)
        record = record_of(request)
        try:
            reply = await _unless_left(request, engine.read(upload.data, kind=kind, seconds=config.seconds))
        except NoWritingError as error:
            if app.state.monitor is not None:
                app.state.monitor.refused(error)
            raise
        metrics.read(reply)
        record.fields |= {
            "pages": len(reply.pages),
            "lines": sum(len(page.reading.lines) for page in reply.pages),
            "model": reply.model,
        }
        if config.log_text:
            record.fields["text"] = [page.reading.text for page in reply.pages]
        for observe in app.state.observers:
            try:
                observe(reply)
            except Exception as error:  # noqa: BLE001 - who only watches must not cost an answer
                log(logging.ERROR, "an observer failed", error=error, request=record.id)
        if what.form == "json":
            return answers.json_answer(answers.json_of(reply, upload.name, record.id))
        return answers.file_answer([page.reading for page in reply.pages], upload.name, what)

    @app.post("/v1/render", responses=openapi.render_answers(), openapi_extra=openapi.render_operation())
    async def render(request: Request) -> Response:
        """Turn a reading, as /v1/read answers it, into a file; its text may have been corrected."""
        refuse_unknown(list(request.query_params), ("format",), "parameter")
        forms = [form for form in FORMS if form != "json"]
        form = cast("Form | None", parameter(request, "format", forms))
        if form is None:
            raise Problem(
                "wrong-value", f"the parameter format is missing; add ?format= with one of {', '.join(forms)}"
            )
        if _media_type(request) != "application/json":
            raise Problem("wrong-type", "the body is not of the type application/json; send a reading as JSON")
        body = await read_all(request.receive, JSON_BYTES)
        return await asyncio.to_thread(_rendered, body, form)

    @app.get("/healthz", response_model=State)
    async def healthz() -> dict[str, str]:
        """Whether the service lives."""
        return {"status": "alive"}

    @app.get("/readyz", response_model=State, responses=openapi.BUSY)
    async def readyz() -> dict[str, str]:
        """Whether the service takes pictures."""
        if not engine.ready:
            raise _not_ready(engine)
        return {"status": "ready"}

    @app.get("/metrics", response_class=PlainTextResponse)
    async def metrics_() -> Response:
        """Metrics for Prometheus."""
        return Response(metrics.render(), media_type="text/plain; version=0.0.4; charset=utf-8")

    @app.get("/v1/model", response_model=Model, responses=openapi.BUSY)
    async def model() -> dict[str, Any]:
        """The model that reads."""
        info = engine.model
        if info is None:
            raise _not_ready(engine)
        return {
            "identity": info.identity,
            "rung": info.rung,
            "framework": info.framework,
            "charset": info.charset,
            "parameters": info.parameters,
            "card": info.card,
            "provenance": info.provenance,
        }


def _not_ready(engine: Engine) -> Problem:
    state = engine.state()
    if engine.model is not None and state.get("depth", 0) >= state.get("capacity", 1):
        return Problem("busy", "too many pictures wait to be read; try again shortly", headers={"Retry-After": "2"})
    return Problem(
        "not-ready",
        "the service is starting or stopping; try again when /readyz answers with 200",
        headers={"Retry-After": "2"},
    )


async def _upload(request: Request, config: ServeConfig) -> Upload:
    """The picture of a request, in whichever of the forms it comes."""
    media = _media_type(request)
    limit = config.max_bytes
    if media == "multipart/form-data":
        return await read_multipart(request.receive, request.headers["content-type"], limit)
    if media == "application/json":
        body = await read_all(request.receive, json_limit(limit))
        sent = await asyncio.to_thread(_of_json, body, limit)
        return sent if isinstance(sent, Upload) else await urls.fetch(sent, config.url_host, limit)
    if media.startswith("image/") or media in ("application/pdf", "application/octet-stream"):
        data = await read_all(request.receive, limit)
        if not data:
            raise Problem(
                "bad-request", "the body is empty; send a picture or a PDF file, with its length or in chunks"
            )
        return Upload(data)
    raise Problem(
        "wrong-type",
        f"the body has the type {short(media) if media else 'none'}; send multipart/form-data with the field file, "
        "application/json, image/* or application/pdf",
    )


def _media_type(request: Request) -> str:
    """The type of the body, without its parameters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def _rendered(body: bytes, form: Form) -> Response:
    name, readings = readings_of(parse_json(body))
    return answers.file_answer(readings, file_name(name), answers.wanted(form, ""))


def _of_json(body: bytes, limit: int) -> Upload | str:
    """The picture, or its URL, of a JSON body."""
    content = parse_json(body)
    refuse_unknown(content, ("image", "url"), "field")
    if len(content) != 1:
        raise Problem("wrong-value", "the JSON has neither image nor url, or both; send one of them")
    (name, value), *_ = content.items()
    if not isinstance(value, str):
        raise Problem("wrong-value", f"{name} is no text; send a string")
    if name == "url":
        return value
    return Upload(decode_base64(value, limit))


async def _unless_left(request: Request, reading: Any) -> Reply:
    """A reply, unless the client leaves before: then the reading is cancelled."""
    read = asyncio.ensure_future(reading)
    left = asyncio.ensure_future(_leaves(request))
    try:
        await asyncio.wait({read, left}, return_when=asyncio.FIRST_COMPLETED)
        if not read.done():
            raise ClientLeft
        reply: Reply = read.result()
        return reply
    finally:
        for task in (read, left):
            task.cancel()
        await asyncio.gather(read, left, return_exceptions=True)


async def _leaves(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
