"""The log, the metrics, and the command."""

from __future__ import annotations

import io
import json
import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from common.cli import main
from common.serving import logs
from common.serving.tests.fake import TOKEN, FakeEngine, Service, own_log, reading
from common.tests.conftest import Outcome

SECRET = "the secret text"


def rows(service: Service, caplog: pytest.LogCaptureFixture, **given: Any) -> list[dict[str, Any]]:
    """The lines that a request adds to the log."""
    caplog.clear()
    with caplog.at_level(logging.DEBUG):
        service.read(**given)
    form = logs.JsonLines()
    return [json.loads(form.format(record)) for record in caplog.records if record.name.startswith("fourhands")]


# --- the log
def test_a_request_is_one_line_with_what_it_was(caplog: pytest.LogCaptureFixture) -> None:
    (row,) = rows(Service(), caplog, headers={"x-request-id": "r-1"})
    assert row.pop("time").endswith("+00:00")
    assert 0 <= row.pop("seconds") < 60
    assert 100 < row.pop("bytes") < 300
    assert row == {
        "level": "info",
        "message": "request",
        "request": "r-1",
        "method": "POST",
        "route": "/v1/read",
        "status": 200,
        "pages": 1,
        "lines": 1,
        "model": "0123456789ab",
    }


def test_a_refused_request_is_one_line_with_the_reason(caplog: pytest.LogCaptureFixture) -> None:
    (row,) = rows(Service(), caplog, params={"x": "y"})
    assert (row["status"], row["problem"]) == (422, "wrong-value")


@pytest.mark.parametrize("log_text", [False, True])
def test_the_log_has_no_text_unless_asked(log_text: bool, caplog: pytest.LogCaptureFixture) -> None:
    engine = FakeEngine(reading(SECRET), reading("more"))
    (row,) = rows(Service(engine, log_text=log_text), caplog, files={"file": ("private-name.png", b"picture-bytes")})
    assert row.get("text") == ([SECRET, "more"] if log_text else None)
    assert "picture-bytes" not in json.dumps(row)
    assert "private-name" not in json.dumps(row)


def test_the_log_has_no_token_no_address_and_no_query(caplog: pytest.LogCaptureFixture) -> None:
    service = Service(token=TOKEN, token_file=Path("token"))
    for given in ({"authorization": f"Bearer {TOKEN}"}, {"authorization": "Bearer wrong-token-of-a-client"}):
        logged = json.dumps(rows(service, caplog, headers=given, params={"secret": "query"}))
        for word in (TOKEN, "wrong-token", "query", "127.0.0.1"):
            assert word not in logged


def test_an_address_that_is_none_is_not_named(caplog: pytest.LogCaptureFixture) -> None:
    service = Service()
    caplog.clear()
    with caplog.at_level(logging.DEBUG):
        service.get("/some/private/path")
        service.send("PROPFIND", "/v1/read")
    said = [record.fields for record in caplog.records if hasattr(record, "fields")]
    assert [(fields["method"], fields["route"]) for fields in said] == [("GET", "other"), ("other", "/v1/read")]


def test_a_line_of_the_log_is_one_line_whatever_it_says() -> None:
    error = None
    try:
        raise ValueError("two\nlines")
    except ValueError as caught:
        error = (type(caught), caught, caught.__traceback__)
    record = logging.LogRecord("fourhands", logging.ERROR, "", 0, "a\nb\u2028%s", ("\x1b[2J",), error)
    record.fields = {"text": ["é\n\ud800"], "path": Path("a")}
    line = logs.JsonLines().format(record)
    assert line.isascii()
    assert len(line.splitlines()) == 1
    row = json.loads(line)
    assert (row["message"], row["text"], row["path"]) == ("a\nb\u2028\x1b[2J", ["é\n\ud800"], "a")
    assert "two\nlines" in row["traceback"]


def test_a_log_that_cannot_be_written_costs_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError(28, "No space left on device")

    logger = logging.getLogger("fourhands.serving")
    handler = logging.StreamHandler(Full())
    monkeypatch.setattr(logging, "raiseExceptions", False)
    logger.addHandler(handler)
    try:
        assert Service().read().status_code == 200
    finally:
        logger.removeHandler(handler)


def test_libraries_write_the_same_log(capsys: pytest.CaptureFixture[str]) -> None:
    with own_log():
        logging.getLogger("uvicorn.error").warning("from uvicorn")
        logging.getLogger("uvicorn.access").warning("its own line per request")
        logging.getLogger("fourhands.engine").error("from the engine")
        logging.getLogger("python_multipart.multipart").warning("bytes of the body")
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [(line["level"], line["message"]) for line in lines] == [
        ("warning", "from uvicorn"),
        ("error", "from the engine"),
    ]


# --- metrics
def test_metrics_count_requests_pages_lines_and_the_state_of_the_engine() -> None:
    engine = FakeEngine(reading("one"), reading("two"))
    service = Service(engine)
    service.read()
    service.read(params={"as": "book"})
    service.get("/a/path/that/is/none")
    text = service.get("/metrics").text
    values = {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    expected = {
        ("fourhands_requests_total", ("route", "/v1/read"), ("status", "200")): 1,
        ("fourhands_requests_total", ("route", "/v1/read"), ("status", "422")): 1,
        ("fourhands_requests_total", ("route", "other"), ("status", "404")): 1,
        ("fourhands_request_seconds_count", ("route", "/v1/read")): 2,
        ("fourhands_stage_seconds_count", ("stage", "read")): 1,
        ("fourhands_pages_read_total",): 2,
        ("fourhands_lines_read_total",): 2,
        ("fourhands_queue_depth",): 3,
        ("fourhands_queue_capacity",): 64,
        ("fourhands_workers_alive",): 2,
        ("fourhands_model_swaps_total",): 1,
        ("fourhands_model_swaps_refused_total",): 0,
        ("fourhands_worker_restarts_total",): 0,
        ("fourhands_ready",): 1,
        ("fourhands_model_info", ("framework", "numpy"), ("identity", "0123456789ab"), ("rung", "lstm_ctc")): 1,
    }
    assert {name: values.get(name) for name in expected} == expected
    assert any(name[0] == "fourhands_build_info" for name in values)
    engine.ready = False
    assert "fourhands_ready 0.0" in service.get("/metrics").text


def test_two_services_count_apart() -> None:
    first, second = Service(), Service()
    first.read()
    assert "fourhands_pages_read_total 1.0" in first.get("/metrics").text
    assert "fourhands_pages_read_total 0.0" in second.get("/metrics").text


# --- the command
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--host", "0.0.0.0"], "--token-file"),
        (["--token-file", "no-such-file"], "no-such-file"),
        (["no-such-run"], "no-such-run"),
        (["--finder", "no-such-run"], "no-such-run"),
        (["--framework", "theano"], "theano"),
        (["--port", "70000"], "--port"),
        (["--max-pages", "0"], "--max-pages"),
        (["--url-host", "http://a.example"], "--url-host"),
        (["--host", "192.0.2.1", "--without-token"], "--host"),
    ],
)
def test_bad_settings_are_one_sentence(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("common.serving.server.run", lambda *_: pytest.fail("it started"))
    with own_log():
        Outcome(main(["serve", *arguments]), *capsys.readouterr()).refuses(words)


def test_what_is_not_installed_is_named(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "uvicorn" else object())
    Outcome(main(["serve"]), *capsys.readouterr()).refuses("uvicorn", 'pip install "fourhands[serve]"')


def test_the_help_needs_no_part_of_the_service() -> None:
    program = "from common.cli import main; main(['serve', '--help']); import sys; "
    program += "print([name for name in ('fastapi', 'uvicorn', 'starlette', 'pydantic') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[]"
