"""Errors of the service, as `application/problem+json`. Source: RFC 9457."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Any

from starlette.exceptions import HTTPException
from starlette.responses import Response

MEDIA_TYPE = "application/problem+json"

KINDS = {
    "bad-request": (400, "The request cannot be understood"),
    "no-token": (401, "The token is missing or wrong"),
    "foreign-origin": (403, "The request comes from another site"),
    "url-refused": (403, "The URL may not be fetched"),
    "not-found": (404, "There is nothing at this address"),
    "wrong-method": (405, "The address does not take this method"),
    "no-such-format": (406, "The answer cannot have this format"),
    "slow-upload": (408, "The body took too long"),
    "gone": (410, "The picture is gone"),
    "changed-meanwhile": (412, "Somebody else saved in between"),
    "too-large": (413, "A limit was passed"),
    "wrong-type": (415, "The body has a type that is not read"),
    "wrong-host": (421, "The request was meant for another host"),
    "cannot-read": (422, "The picture cannot be read"),
    "wrong-value": (422, "A parameter or a field is wrong"),
    "no-version": (428, "The version is missing"),
    "long-head": (431, "The headers or the address are too long"),
    "failed": (500, "The service failed"),
    "url-failed": (502, "The URL could not be fetched"),
    "not-ready": (503, "The service is not ready"),
    "busy": (503, "The service is busy"),
    "worker-lost": (503, "The process that read the picture ended"),
    "too-late": (504, "The time limit passed"),
    "not-saved": (507, "Nothing was saved"),
}
"""Kind of each problem, its status and its title."""


class Problem(HTTPException):
    """An error that a request is answered with."""

    def __init__(
        self, kind: str, detail: str, *, limit: float | None = None, headers: dict[str, str] | None = None
    ) -> None:
        """Make an error.

        Args:
            kind: a key of `KINDS`.
            detail: one sentence: what is wrong, what was expected, what to do.
            limit: the limit that was passed, in the unit that `detail` names.
            headers: headers of the answer.
        """
        super().__init__(KINDS[kind][0], detail, headers)
        self.kind = kind
        self.limit = limit


def of_status(status: int, detail: str, headers: Any = None) -> Problem:
    """The problem for a status that the framework raised."""
    kind = next((kind for kind, (code, _) in KINDS.items() if code == status), None)
    problem = Problem(kind or "bad-request", detail, headers=dict(headers or {}))
    problem.status_code = status
    return problem


def answer(problem: Problem, request_id: str) -> Response:
    """The answer for a problem."""
    title = KINDS[problem.kind][1]
    content: dict[str, Any] = {
        "type": f"/docs#{problem.kind}",
        "title": title if problem.status_code == KINDS[problem.kind][0] else HTTPStatus(problem.status_code).phrase,
        "status": problem.status_code,
        "detail": " ".join(str(problem.detail).split()),
        "request": request_id,
    }
    if problem.limit is not None:
        content["limit"] = problem.limit
    body = json.dumps(content, ensure_ascii=False).encode("utf-8", "replace")
    return Response(body, problem.status_code, headers=dict(problem.headers or {}), media_type=MEDIA_TYPE)
