"""The page `/monitor` and its data `/v1/monitor`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from fastapi import APIRouter
from starlette.concurrency import run_in_threadpool
from starlette.responses import HTMLResponse, JSONResponse, Response

from common.report.drift import body, style
from common.report.drift_charts import history_chart

FOLDER = Path(__file__).parent
OPEN_PATHS = ("/monitor", "/monitor/style.css", "/monitor/monitor.js")
"""Paths that show nothing that was read: the page asks `/v1/monitor` for it, with the token."""


def router_of(report_now: Callable[[], dict[str, Any]]) -> APIRouter:
    """The routes of a monitor.

    Args:
        report_now: see `Monitor.report`.
    """
    router = APIRouter()
    page = (FOLDER / "monitor.html").read_text(encoding="utf-8")
    script = (FOLDER / "monitor.js").read_text(encoding="utf-8")
    sheet = style()

    @router.get("/monitor", include_in_schema=False)
    async def page_() -> Response:
        return HTMLResponse(page)

    @router.get("/monitor/style.css", include_in_schema=False)
    async def sheet_() -> Response:
        return Response(sheet, media_type="text/css; charset=utf-8")

    @router.get("/monitor/monitor.js", include_in_schema=False)
    async def script_() -> Response:
        return Response(script, media_type="text/javascript; charset=utf-8")

    @router.get("/v1/monitor", response_model=None)
    async def report(format: Literal["json", "html"] = "json") -> Response:  # noqa: A002 - the name in the URL
        """The last lines compared with the profile of the reader: signs, alarms, and an estimate of the CER.

        `format=html` answers the part of a page that shows it.
        """
        found = report_now()
        if format == "html":
            return HTMLResponse(await run_in_threadpool(fragment, found))
        return JSONResponse(found)

    return router


def fragment(report: dict[str, Any]) -> str:
    """The report as a part of the page."""
    if not report["has_profile"]:
        return "<p>This reader has no profile to compare with. Train it again, or make a profile of its data.</p>"
    seen = report["seen"]
    if report["comparison"] is None:
        return (
            f"<p>{seen['lines']:,} lines of {seen['pictures']:,} pictures so far. The first comparison follows when a "
            f"sixth of the window of {report['window']['lines']:,} lines is there.</p>"
        )
    estimates = [(each["cer"], each["low"], each["high"]) for each in report["history"]]
    chart = ""
    if len(estimates) > 1:
        drawn = history_chart(estimates)
        chart = f'<div class="charts"><figure><figcaption>Estimated CER</figcaption>{drawn}</figure></div>'
    return body(report["comparison"]) + chart
