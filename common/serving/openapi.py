"""The OpenAPI description, with examples that can be sent as they are."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import Any

from common.serving.answers import MEDIA_TYPES
from common.serving.models import Model, OnePage, ProblemBody, SeveralPages, State
from common.serving.problems import KINDS, MEDIA_TYPE

TEXT = "the house was"
"""The text of the picture of the examples."""
DESCRIPTION = """Send a picture of handwriting, and get its text.

Every error is one JSON object of the type `application/problem+json` (RFC 9457). Its `detail` says in one sentence what
is wrong, what was expected, and what to do. `X-Request-Id` names a request in the answer and in the log."""
_BINARY = {"type": "string", "contentMediaType": "application/octet-stream", "format": "binary"}


@cache
def picture() -> bytes:
    """The picture of the examples: a line, drawn by `common.data.ink_lines`."""
    return files("common.serving").joinpath("example.png").read_bytes()


def reading() -> dict[str, Any]:
    """What `/v1/read` answers for the picture, but for the confidences."""
    right, bottom = 288, 55
    return {
        "image": "line.png",
        "kind": "line",
        "width": right + 1,
        "height": bottom + 1,
        "text": TEXT,
        "confidence": 0.87,
        "character_confidences": [0.99] * len(TEXT),
        "lines": [
            {
                "text": TEXT,
                "confidence": 0.99,
                "characters": [{"text": character, "confidence": 0.99} for character in TEXT],
                "baseline": [],
                "outline": [[0, 0], [right, 0], [right, bottom], [0, bottom]],
            }
        ],
        "model": "0123456789ab",
        "seconds": {"queue": 0.0, "decode": 0.001, "find": 0.0, "read": 0.02, "total": 0.021},
        "request": "8a6f9c2e4b7d4e0c9d5f1a2b3c4d5e6f",
    }


def _schema(*models: Any) -> dict[str, Any]:
    references = [{"$ref": f"#/components/schemas/{model.__name__}"} for model in models]
    return references[0] if len(references) == 1 else {"oneOf": references}


def _query(name: str, values: Sequence[str], description: str) -> dict[str, Any]:
    schema = {"type": "string", "enum": list(values)}
    return {"name": name, "in": "query", "required": False, "schema": schema, "description": description}


def _files(example: str) -> dict[str, Any]:
    """The content of an answer that is a file."""
    kinds: dict[str, Any] = {
        media: {"schema": {"type": "string"}} for media, form in MEDIA_TYPES.items() if form != "json"
    }
    kinds["text/plain"]["example"] = example
    return kinds | {"application/zip": {"schema": _BINARY}}


def _problem(*kinds: str) -> dict[str, Any]:
    said = " ".join(f"{kind}: {KINDS[kind][1].lower()}." for kind in kinds)
    return {"description": said or "An error.", "content": {MEDIA_TYPE: {"schema": _schema(ProblemBody)}}}


ERRORS: dict[int | str, dict[str, Any]] = {"default": _problem()}
"""The answers of every address."""
_WAIT = {"Retry-After": {"schema": {"type": "integer"}, "description": "Seconds to wait before the next try."}}
BUSY: dict[int | str, dict[str, Any]] = {503: {**_problem("not-ready", "busy", "worker-lost"), "headers": _WAIT}}


def read_operation() -> dict[str, Any]:
    """What FastAPI cannot know of `POST /v1/read`."""
    example = base64.b64encode(picture()).decode()
    form_schema = {
        "type": "object",
        "properties": {"file": _BINARY},
        "required": ["file"],
        "additionalProperties": False,
    }
    json_schema = {
        "oneOf": [
            {
                "type": "object",
                "properties": {name: {"type": "string", "description": text, "minLength": 1}},
                "required": [name],
                "additionalProperties": False,
            }
            for name, text in (
                ("image", "A picture or a PDF file in base64 (RFC 4648), without line breaks."),
                ("url", "Its address, by https, if the service was started with --url-host for its host."),
            )
        ]
    }
    content = {
        "multipart/form-data": {"schema": form_schema},
        "application/json": {
            "schema": json_schema,
            "examples": {"line": {"summary": "A picture of one line", "value": {"image": example}}},
        },
        "image/*": {"schema": _BINARY},
        "application/pdf": {"schema": _BINARY},
        "application/octet-stream": {"schema": _BINARY},
    }
    as_text = "What the picture shows. By default, the service finds out."
    format_text = "The form of the answer. By default, `Accept` decides; without both it is JSON."
    return {
        "parameters": [
            _query("as", ["page", "line", "character"], as_text),
            _query("format", list(dict.fromkeys(MEDIA_TYPES.values())), format_text),
        ],
        "requestBody": {
            "required": True,
            "content": content,
            "description": "A picture of a page, a line or a character, or a document. The type of a file is found by "
            "its content; the type and the name that the request gives it decide nothing.",
        },
    }


def read_answers() -> dict[int | str, dict[str, Any]]:
    """The answers of `POST /v1/read`."""
    return ERRORS | {
        200: {
            "description": "What was read. Several pages are one text with form feeds between them, or a ZIP of files.",
            "content": {
                "application/json": {
                    "schema": _schema(OnePage, SeveralPages),
                    "examples": {"line": {"summary": "A picture of one line", "value": reading()}},
                },
                **_files(TEXT + "\n"),
            },
        },
        406: _problem("no-such-format"),
        408: _problem("slow-upload"),
        413: _problem("too-large"),
        415: _problem("wrong-type"),
        422: _problem("cannot-read", "wrong-value"),
        **BUSY,
        504: _problem("too-late"),
    }


def render_operation() -> dict[str, Any]:
    """What FastAPI cannot know of `POST /v1/render`."""
    forms = [form for form in dict.fromkeys(MEDIA_TYPES.values()) if form != "json"]
    format_ = _query("format", forms, "The form of the file.") | {"required": True}
    content = {
        "application/json": {
            "schema": _schema(OnePage, SeveralPages),
            "examples": {"line": {"summary": "A corrected line", "value": reading()}},
        }
    }
    return {"parameters": [format_], "requestBody": {"required": True, "content": content}}


def render_answers() -> dict[int | str, dict[str, Any]]:
    """The answers of `POST /v1/render`."""
    content = _files(TEXT + "\n")
    return ERRORS | {
        200: {"description": "The file; several pages are a ZIP of files.", "content": content},
        413: _problem("too-large"),
        422: _problem("wrong-value"),
    }


MODELS = (OnePage, SeveralPages, ProblemBody, Model, State)
"""Shapes that the description names."""


def complete(description: dict[str, Any], *, token: bool, open_paths: list[str]) -> dict[str, Any]:
    """Add the shapes and the token to the description that FastAPI makes."""
    components = description.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    for model in MODELS:
        shape = model.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas.update(shape.pop("$defs", {}))
        schemas[model.__name__] = shape
    kinds = [{"kind": kind, "status": status, "title": title} for kind, (status, title) in KINDS.items()]
    description["x-problems"] = kinds
    if token:
        components["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        for path, methods in description["paths"].items():
            for operation in methods.values():
                operation["security"] = [] if path in open_paths else [{"token": []}]
    return description
