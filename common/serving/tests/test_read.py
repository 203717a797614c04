"""`POST /v1/read`: the forms of a request and of its answer."""

from __future__ import annotations

import base64
import io
import json
import zipfile

import numpy as np
import pytest
from defusedxml.ElementTree import fromstring

from common.errors import UserError
from common.reading.formats import Source, render
from common.reading.formats.json import as_json
from common.serving.answers import MEDIA_TYPES, wanted
from common.serving.problems import Problem
from common.serving.reply import QueueFullError, TooLargeError, TooLateError, WorkerLostError
from common.serving.tests.fake import FakeEngine, Service, reading, refused

PICTURE = bytes(range(256)) * 3
SOURCE = Source(image="page.jpg", picture_HW=np.zeros((1, 1), np.uint8))


# --- forms of the request
@pytest.mark.parametrize(
    "given",
    [
        {"files": {"file": ("../../page.jpg", PICTURE, "text/html")}},
        {"files": {"file": ("page.jpg", io.BytesIO(PICTURE))}},
        {"json": {"image": base64.b64encode(PICTURE).decode()}},
        {"content": PICTURE, "headers": {"content-type": "image/png"}},
        {"content": PICTURE, "headers": {"content-type": "IMAGE/JPEG; q=1"}},
        {"content": PICTURE, "headers": {"content-type": "application/pdf"}},
        {"content": PICTURE, "headers": {"content-type": "application/octet-stream"}},
    ],
    ids=["form", "form without a type", "base64", "image", "image with parameters", "pdf", "bytes"],
)
def test_the_engine_gets_the_bytes_of_the_picture(given: dict[str, object]) -> None:
    service = Service()
    response = service.read(**given)
    assert response.status_code == 200, response.text
    assert service.engine.asked == [(PICTURE, None, 60.0)]


def test_a_picture_may_come_in_chunks_without_a_length() -> None:
    async def chunks():  # noqa: ANN202
        for start in range(0, len(PICTURE), 100):
            yield PICTURE[start : start + 100]

    service = Service()
    response = service.read(content=chunks(), headers={"content-type": "image/png"})
    assert response.status_code == 200
    assert service.engine.asked[0][0] == PICTURE


def test_a_boundary_within_the_picture_is_part_of_the_picture() -> None:
    picture = b"\r\n--other\r\n\r\n--" + b"-" * 30 + b"\r\n"
    service = Service()
    assert service.read(files={"file": ("a.png", picture)}).status_code == 200
    assert service.engine.asked[0][0] == picture


@pytest.mark.parametrize("kind", ["page", "line", "character"])
def test_the_engine_learns_what_the_picture_shows(kind: str) -> None:
    service = Service(seconds=7)
    assert service.read(params={"as": kind}).status_code == 200
    assert service.engine.asked == [(b"picture", kind, 7)]


# --- forms of the answer
def test_json_is_what_the_command_read_writes_and_how_it_was_made() -> None:
    content = Service().read(headers={"x-request-id": "my.id-1_2"}).json()
    made = {name: content.pop(name) for name in ("model", "seconds", "request")}
    assert content == json.loads(json.dumps(as_json(reading(), SOURCE)))
    assert made == {
        "model": "0123456789ab",
        "seconds": {"queue": 0.001, "read": 0.02, "total": 0.021},
        "request": "my.id-1_2",
    }


def test_json_of_several_pages_has_all_of_them_in_order() -> None:
    content = Service(FakeEngine(reading("one"), reading("two"))).read().json()
    assert [(page["page"], page["text"]) for page in content["pages"]] == [(1, "one"), (2, "two")]
    assert content.keys() == {"pages", "model", "seconds", "request"}


@pytest.mark.parametrize("form", ["text", "alto", "page", "hocr"])
@pytest.mark.parametrize("by", ["parameter", "accept"])
def test_a_file_is_what_the_command_read_writes(form: str, by: str) -> None:
    media = next(media for media, each in MEDIA_TYPES.items() if each == form)
    given = {"params": {"format": form}} if by == "parameter" else {"headers": {"accept": media}}
    response = Service().read(**given)
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == f"{media}; charset=utf-8"
    expected = render(reading(), SOURCE, form)  # type: ignore[arg-type]
    if form == "page":  # it has the time
        assert fromstring(response.content).tag == fromstring(expected).tag
    else:
        assert response.content == expected


@pytest.mark.parametrize("form", ["alto", "page", "hocr"])
def test_files_of_several_pages_are_a_zip(form: str) -> None:
    response = Service(FakeEngine(*[reading(f"page {n}") for n in range(1, 11)])).read(params={"format": form})
    assert response.headers["content-type"] == "application/zip"
    assert response.headers["content-disposition"] == "attachment; filename*=UTF-8''page.zip"
    with zipfile.ZipFile(io.BytesIO(response.content)) as archive:
        suffix = "html" if form == "hocr" else "xml"
        assert archive.namelist() == [f"page-{n:02}.{suffix}" for n in range(1, 11)]
        assert b"page 7" in archive.read(f"page-07.{suffix}")


def test_text_of_several_pages_has_form_feeds_between_them() -> None:
    response = Service(FakeEngine(reading("one"), reading("two"))).read(params={"format": "text"})
    assert response.text == "one\n\ftwo\n"


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("../../etc/passwd", "passwd.txt"),
        ("C:\\scans\\a b.jpg", "a%20b.txt"),
        ("é\x1b[2J.png", "%C3%A9%5B2J.txt"),
        ("..", "image.txt"),
        ("x" * 3000 + ".png", "x" * 96 + ".txt"),
    ],
    ids=["path", "windows path", "control sign", "dots", "long"],
)
def test_the_name_of_a_file_is_made_harmless(name: str, shown: str) -> None:
    body = b'--b\r\nContent-Disposition: form-data; name="file"; filename="%s"\r\n\r\npicture\r\n--b--\r\n'
    response = Service().read(
        content=body % name.encode(),
        headers={"content-type": "multipart/form-data; boundary=b"},
        params={"format": "text"},
    )
    assert response.headers["content-disposition"] == f"attachment; filename*=UTF-8''{shown}"


@pytest.mark.parametrize(
    ("accept", "media"),
    [
        ("", "application/json"),
        ("*/*", "application/json"),
        ("text/*", "text/plain"),
        ("text/html", "text/html"),
        ("text/plain;q=0.5, application/alto+xml", "application/alto+xml"),
        ("application/*;q=0.3, application/xml;q=0.9", "application/xml"),
        ("application/json;q=0, */*;q=0.1", "text/plain"),
        ("text/plain;q=0.000, text/html;q=0.001", "text/html"),
        ("image/png, */*;q=0.01", "application/json"),
        ("TEXT/PLAIN ; Q=1.000", "text/plain"),
    ],
)
def test_accept_decides_by_its_qualities(accept: str, media: str) -> None:
    assert wanted(None, accept).media_type == media


@pytest.mark.parametrize("accept", ["image/png", "application/json;q=0", "nonsense", "text/plain;q=2", ",,;;"])
def test_accept_of_nothing_that_there_is_is_refused(accept: str) -> None:
    with pytest.raises(Problem) as caught:
        wanted(None, accept)
    assert caught.value.status_code == 406


# --- errors of the engine
@pytest.mark.parametrize(
    ("error", "status", "kind"),
    [
        (UserError("the image is blank; use another"), 422, "cannot-read"),
        (TooLargeError("the image has 9 pixels; at most 8 are read"), 413, "too-large"),
        (QueueFullError(3), 503, "busy"),
        (TooLateError("the page was not read after 60 s"), 504, "too-late"),
        (WorkerLostError("the process ended"), 503, "worker-lost"),
    ],
)
def test_errors_of_the_engine_have_answers(error: Exception, status: int, kind: str) -> None:
    response = Service(FakeEngine(error=error)).read()
    refused(response, status, kind)
    assert ("retry-after" in response.headers) is (status == 503)


def test_a_full_queue_says_when_to_come_back() -> None:
    assert Service(FakeEngine(error=QueueFullError(17))).read().headers["retry-after"] == "17"


def test_an_unexpected_error_shows_nothing_and_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    response = Service(FakeEngine(error=ZeroDivisionError("secret"))).read(headers={"x-request-id": "r1"})
    content = refused(response, 500, "failed", "log")
    assert "secret" not in response.text
    assert "Traceback" not in response.text
    assert content["request"] == "r1"
    (record,) = [each for each in caplog.records if each.message == "unexpected error"]
    assert record.exc_info is not None
    assert record.fields["request"] == "r1"  # type: ignore[attr-defined]


def test_an_engine_that_is_not_ready_refuses_before_the_body_is_read() -> None:
    engine = FakeEngine()
    engine.ready = False
    response = Service(engine).read()
    refused(response, 503, "not-ready", "starting or stopping")
    assert engine.asked == []
    engine.figures["depth"] = 64
    refused(Service(engine).read(), 503, "busy", "too many pictures")


# --- other addresses
def test_probes_and_model() -> None:
    engine = FakeEngine()
    service = Service(engine)
    assert service.get("/healthz").json() == {"status": "alive"}
    assert service.get("/readyz").json() == {"status": "ready"}
    model = service.get("/v1/model").json()
    assert (model["identity"], model["charset"], model["card"]) == ("0123456789ab", "abc", "# Card")
    engine.ready, engine.model = False, None
    assert service.get("/healthz").status_code == 200
    refused(service.get("/readyz"), 503, "not-ready")
    refused(service.get("/v1/model"), 503, "not-ready")


def test_unknown_addresses_and_methods_are_refused() -> None:
    service = Service()
    refused(service.get("/v2/read"), 404, "not-found", "/openapi.json")
    refused(service.get("/v1/read"), 405, "wrong-method", "/openapi.json")
    refused(service.get("/v1/read/"), 404, "not-found")
    refused(service.get("/web/../app.py"), 404, "not-found")
    refused(service.get("/web/%2e%2e%2fapp.py"), 404, "not-found")
    refused(service.get("/web/..%2f..%2fapp.py"), 404, "not-found")


def test_observers_see_each_reply_and_cannot_cost_an_answer(caplog: pytest.LogCaptureFixture) -> None:
    service, seen = Service(), []

    def fails(reply: object) -> None:
        raise OSError("disk full")

    service.app.state.observers[:] = [fails, seen.append]
    assert service.read().status_code == 200
    assert len(seen) == 1
    assert "an observer failed" in caplog.text
