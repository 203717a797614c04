"""The monitor: its window, its alarms and messages, its metrics, its page, and its log."""

from __future__ import annotations

import asyncio
import json
import os
import re
import threading
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import pytest

from common.errors import NoWritingError
from common.evaluation.drift import with_nulls
from common.evaluation.profile import Measured, Profile, make_profile
from common.evaluation.signs import PageSigns
from common.serving.monitoring.alerts import QUIET, Alerts
from common.serving.monitoring.monitor import Monitor
from common.serving.monitoring.webhook import Webhook
from common.serving.monitoring.window import Window
from common.tests.test_drift import split_of

EMPTY = PageSigns(brightness=0.8, contrast=0.1, lines=(), characters={}, empty=True)


@pytest.fixture(scope="module")
def pages() -> list[PageSigns]:
    """The pages of 30 writers."""
    return [page for pages in split_of(30, 0) for page in pages]


@pytest.fixture(scope="module")
def profile(pages: list[PageSigns]) -> Profile:
    made = make_profile(Measured.of(pages), reader="abc", data="pages")
    made = with_nulls(made, pages, [i // 3 for i in range(len(pages))])
    knots: dict[str, Any] = {"confidences": [0.5, 1.0], "errors": [0.6, 0.02], "reliability": []}
    return replace(
        made, calibration=knots | {"length": 1.0, "spread": 0.5, "before": 0.05, "after": 0.01, "lines": 900}
    )


def reply(*signs: PageSigns | None) -> Any:
    return SimpleNamespace(pages=[SimpleNamespace(signs=each) for each in signs])


def darkened(page: PageSigns) -> PageSigns:
    assert page.brightness is not None
    return replace(page, brightness=page.brightness / 2)


# --- the window
def test_window_keeps_the_fewest_whole_pictures_with_its_lines(pages: list[PageSigns]) -> None:
    window = Window(50)
    for page in pages[:40]:
        window.add(page)
        kept = window.pages()
        count = sum(len(each.lines) for each in kept)
        assert kept == pages[: pages.index(page) + 1][-len(kept) :]
        assert count - len(kept[0].lines) < 50
    assert count >= 50
    assert (window.seen_pictures, window.count) == (40, count)


def test_pictures_without_writing_fill_the_window_and_leave_it(pages: list[PageSigns]) -> None:
    window = Window(10)
    for _ in range(1000):
        window.add(EMPTY)
    assert len(window.pages()) == 10
    window.add(pages[0])
    assert window.pages() == [pages[0]]


# --- alarms
def test_an_alarm_is_told_once_and_its_end_once(profile: Profile, pages: list[PageSigns]) -> None:
    sent: list[dict[str, Any]] = []
    keys: list[str] = []

    def post(_: str, body: bytes, headers: Mapping[str, str]) -> tuple[int, None]:
        sent.append(json.loads(body))
        keys.append(headers["Idempotency-Key"])
        return 200, None

    hook = Webhook("https://example.org/", post=post)
    monitor = Monitor(profile, model="abc", webhook=hook, background=False, clock=lambda: 1_000_000.0)
    for page in pages:
        monitor.observe(reply(darkened(page)))
    for _ in range(3):
        monitor.look()
    assert [alarm["name"] for alarm in monitor.report()["firing"]][:1] == ["darker"]
    for page in pages:
        monitor.observe(reply(page))
    for _ in range(QUIET + 1):
        monitor.look()
    assert monitor.report()["firing"] == []
    assert hook.flush(5)
    darker = [message for message in sent if message["alarm"] == "darker"]
    assert [message["state"] for message in darker] == ["firing", "resolved"]
    assert darker[0]["since"] == darker[1]["since"] == "1970-01-12T13:46:40+00:00"
    assert darker[0]["model"] == "abc"
    assert "darker" in darker[0]["sentence"]
    assert len(keys) == len(set(keys)), "every message has a key of its own"
    monitor.close()


def test_one_quiet_look_does_not_end_an_alarm() -> None:
    from common.evaluation.alarms import Alarm

    alarm = Alarm(name="darker", sentence="", signs=("brightness",), p=0.0)
    alerts = Alerts()
    states = [[alert.state for alert in alerts.look(seen, 0.0)] for seen in ([alarm], [], [alarm], [], [], [alarm])]
    assert states == [["firing"], [], [], [], ["resolved"], ["firing"]]


def test_refused_pictures_count(profile: Profile) -> None:
    monitor = Monitor(profile, background=False)
    for _ in range(6):
        error = NoWritingError("no writing was found")
        error.signs = EMPTY
        monitor.refused(error)
    monitor.refused(ValueError("another error"))
    monitor.refused(NoWritingError("without signs"))
    assert monitor.report()["seen"] == {"pictures": 6, "lines": 0}
    assert [alert.alarm.name for alert in monitor.look()] == ["empty"]


def test_pages_without_signs_are_left_out(profile: Profile) -> None:
    monitor = Monitor(profile, background=False)
    monitor.observe(reply(None))
    assert monitor.report()["seen"] == {"pictures": 0, "lines": 0}


def test_a_thread_looks_when_a_sixth_of_the_window_is_new(profile: Profile, pages: list[PageSigns]) -> None:
    monitor = Monitor(profile)
    threads = [threading.Thread(target=lambda: [monitor.add(page) for page in pages]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for _ in range(200):
        if monitor.looks:
            break
        threading.Event().wait(0.05)
    assert monitor.looks
    assert monitor.report()["seen"]["pictures"] == 4 * len(pages)
    monitor.close()
    assert monitor._thread is not None
    assert not monitor._thread.is_alive()


def test_without_a_profile_nothing_is_compared(pages: list[PageSigns]) -> None:
    monitor = Monitor(None)
    for page in pages:
        monitor.add(page)
    assert monitor.look() == []
    assert monitor.report()["has_profile"] is False
    assert "fourhands_psi" not in {family.name for family in monitor.metrics()}


# --- what it shows
@pytest.fixture(scope="module")
def looked(profile: Profile, pages: list[PageSigns]) -> Monitor:
    """A monitor that has seen dark pages."""
    monitor = Monitor(profile, background=False)
    for page in pages:
        monitor.add(darkened(page))
    monitor.look()
    monitor.look()
    return monitor


def test_metrics_are_those_of_the_report(looked: Monitor) -> None:
    samples = {
        (sample.name, *sample.labels.values()): sample.value for family in looked.metrics() for sample in family.samples
    }
    figures = looked.report()["comparison"]
    rows = {row["sign"]: row for row in figures["signs"]}
    assert samples["fourhands_psi", "brightness"] == rows["brightness"]["psi"] > 1
    assert samples["fourhands_ks_distance", "ink"] == rows["ink"]["distance"]
    assert samples["fourhands_drift_p", "brightness"] == rows["brightness"]["corrected"] < 1e-4
    assert samples["fourhands_alarm", "darker"] == 1
    assert samples["fourhands_alarm", "blurred"] == 0
    assert samples["fourhands_estimated_cer_low",] < samples["fourhands_estimated_cer",]
    assert samples["fourhands_estimated_cer",] < samples["fourhands_estimated_cer_high",]


def test_the_estimate_follows_the_calibration(looked: Monitor, pages: list[PageSigns]) -> None:
    """Errors fall from 0.6 to 0.02 along a line: 0.6 − 1.16 (confidence − 0.5), weighted by characters."""
    kept = looked._window.pages()
    rows = [(line.confidence, line.characters) for page in kept for line in page.lines]
    expected = sum((0.6 - 1.16 * (c - 0.5)) * n for c, n in rows) / sum(n for _, n in rows)
    cer = looked.report()["comparison"]["cer"]
    assert cer["cer"] == pytest.approx(expected)
    assert cer["high"] / cer["cer"] == pytest.approx(cer["cer"] / cer["low"])


def test_the_page_has_no_script_and_no_style_within(looked: Monitor) -> None:
    routes = pytest.importorskip("common.serving.monitoring.routes", reason="missing: fastapi of the extra [serve]")
    fragment = routes.fragment(looked.report())
    assert "⚠" in fragment
    assert "darker" in fragment
    assert not re.search(r"\sstyle=|<script|\son\w+=|javascript:", fragment)
    for svg in re.findall(r"<svg.*?</svg>", fragment, re.DOTALL):
        drawing = ElementTree.fromstring(svg)
        assert drawing.get("aria-label")
        assert not any("nan" in value for node in drawing.iter() for value in node.attrib.values())
    page = (routes.FOLDER / "monitor.html").read_text()
    assert re.findall(r"<script[^>]*>[^<]", page) == []
    assert "style=" not in page


def test_routes_answer(looked: Monitor) -> None:
    fastapi = pytest.importorskip("fastapi", reason="missing: fastapi of the extra [serve]")
    httpx = pytest.importorskip("httpx", reason="missing: httpx")
    app = fastapi.FastAPI()
    app.include_router(looked.router())

    async def get(path: str) -> Any:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client:
            return await client.get(path)

    assert asyncio.run(get("/v1/monitor")).json() == json.loads(json.dumps(looked.report()))
    assert asyncio.run(get("/v1/monitor?format=html")).text.startswith("<ul")
    assert asyncio.run(get("/v1/monitor?format=xml")).status_code == 422
    for path, kind in (("", "text/html"), ("/style.css", "text/css"), ("/monitor.js", "text/javascript")):
        answer = asyncio.run(get(f"/monitor{path}"))
        assert (answer.status_code, answer.headers["content-type"].split(";")[0]) == (200, kind)


# --- the log
def test_the_log_has_signs_and_no_text(tmp_path: Path, profile: Profile, pages: list[PageSigns]) -> None:
    path = tmp_path / "signs.jsonl"
    monitor = Monitor(profile, log=path, background=False, clock=lambda: 0.0)
    for page in pages[:3]:
        monitor.add(page)
    assert path.stat().st_mode & 0o077 == 0, "only its owner may read it"
    rows = [json.loads(row) for row in path.read_text().splitlines()]
    assert [PageSigns.from_json(row["signs"]).as_json() for row in rows] == [page.as_json() for page in pages[:3]]
    assert set(rows[0]) == {"time", "signs"}


def test_a_log_that_cannot_be_written_costs_no_answer(
    tmp_path: Path, profile: Profile, caplog: pytest.LogCaptureFixture
) -> None:
    monitor = Monitor(profile, log=tmp_path / "no" / "signs.jsonl", background=False)
    monitor.add(EMPTY)
    assert "cannot write the log of signs" in caplog.text
    assert monitor.report()["seen"]["pictures"] == 1


# --- in the service
def test_the_service_watches_what_it_reads_and_what_it_refuses(profile: Profile, pages: list[PageSigns]) -> None:
    pytest.importorskip("fastapi", reason="missing: fastapi of the extra [serve]")
    from common.serving.tests.fake import TOKEN, FakeEngine, Service

    monitor = Monitor(profile, background=False)
    error = NoWritingError("no writing was found")
    error.signs = EMPTY
    service = Service(FakeEngine(error=error), token=TOKEN, monitor=monitor)
    header = {"Authorization": f"Bearer {TOKEN}"}
    assert service.read(headers=header).status_code == 422
    assert monitor.report()["seen"]["pictures"] == 1
    assert service.get("/v1/monitor").status_code == 401
    assert service.get("/v1/monitor", headers=header).json()["seen"]["pictures"] == 1
    assert service.get("/monitor").status_code == 200, "the page itself shows nothing that was read"
    assert "fourhands_alarm" in service.get("/metrics", headers=header).text


def test_settings_of_alerts_are_checked_before_anything_starts(
    tmp_path: Path, profile: Profile, monkeypatch: pytest.MonkeyPatch
) -> None:
    from common.errors import UserError
    from common.serving.config import ServeConfig
    from common.serving.monitoring import opening

    secret = tmp_path / "secret"
    secret.write_text("0123456789abcdef")
    with pytest.raises(UserError, match="--alert-url"):
        ServeConfig(alert_secret_file=secret)
    with pytest.raises(UserError, match="window"):
        ServeConfig(window=0)
    (tmp_path / "run").mkdir()
    settings = {"run": tmp_path / "run", "alert_url": "https://example.org/hook", "alert_secret_file": secret}
    with pytest.raises(UserError, match=r"profile\.json, which does not exist"):
        opening.open_monitor(ServeConfig(**settings))
    assert opening.open_monitor(ServeConfig(run=tmp_path / "run")).profile is None
    profile.save(tmp_path / "run" / "profile.json")
    assert opening.open_monitor(ServeConfig(**settings)).profile is not None
    with pytest.raises(UserError, match="not encrypted"):
        opening.open_monitor(ServeConfig(**settings | {"alert_url": "http://example.org/hook"}))


def test_a_new_profile_is_read_and_begins_a_new_window(
    tmp_path: Path, profile: Profile, pages: list[PageSigns]
) -> None:
    path = tmp_path / "profile.json"
    profile.save(path)
    monitor = Monitor(Profile.load(path), profile_file=path, background=False)
    for page in pages:
        monitor.add(page)
    monitor.look()
    path.write_text("{")  # half written
    os.utime(path, ns=(1, 1))
    monitor.look()
    assert monitor.report()["window"]["count"] >= 300, "the old profile stays"
    replace(profile, data="other").save(path)
    monitor.look()
    assert monitor.profile is not None
    assert monitor.profile.data == "other"
    assert monitor.report()["window"]["count"] == 0
