"""The function runs under AWS's own runtime interface client, with a local stand-in for Lambda's API."""

from __future__ import annotations

import base64
import importlib.util
import io
import json
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

pytest.importorskip("awslambdaric", reason='needs awslambdaric: pip install "fourhands[lambda]"')
pytest.importorskip("mangum", reason='needs mangum: pip install "fourhands[lambda]"')
pytest.importorskip("fastapi", reason='needs fastapi: pip install "fourhands[serve]"')

HERE = Path(__file__).parent
PICTURE = HERE.parent / "docs" / "images" / "page.jpg"
TOKEN = "a-token-of-twenty-one"
AUTHORIZED = {"authorization": f"Bearer {TOKEN}"}
# one process starts the function for all tests of this file
pytestmark = pytest.mark.xdist_group("lambda")


def module(path: Path) -> ModuleType:
    """A module of a folder that is no package."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec
    assert spec.loader
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


lambda_ = module(HERE / "lambda" / "runtime_api.py")


@pytest.fixture(scope="module")
def api() -> Iterator[Any]:
    """Lambda's API, with the function running behind it."""
    api = lambda_.RuntimeAPI()
    with lambda_.function(api, FOURHANDS_TOKEN=TOKEN):
        yield api
    api.close()


@pytest.fixture(scope="module")
def page() -> bytes:
    """A page of a few lines: a corner of another."""
    from PIL import Image

    content = io.BytesIO()
    with Image.open(PICTURE) as picture:
        picture.crop((0, 0, picture.width // 2, picture.height // 3)).save(content, "jpeg")
    return content.getvalue()


@pytest.fixture(scope="module")
def expected(page: bytes) -> Any:
    """What the reader reads on the page, without any service."""
    import fourhands

    return fourhands.load().read(page)


def answer(response: dict[str, Any]) -> dict[str, Any]:
    return json.loads(lambda_.body_of(response))


def multipart(page: bytes) -> tuple[dict[str, str], bytes]:
    """Headers and body of a form with the page."""
    head = b'--sep\r\nContent-Disposition: form-data; name="file"; filename="page.jpg"\r\n'
    body = head + b"Content-Type: image/jpeg\r\n\r\n" + page + b"\r\n--sep--\r\n"
    return {"content-type": "multipart/form-data; boundary=sep"}, body


def as_base64(page: bytes) -> tuple[dict[str, str], bytes]:
    content = json.dumps({"image": base64.b64encode(page).decode()})
    return {"content-type": "application/json"}, content.encode()


def raw(page: bytes) -> tuple[dict[str, str], bytes]:
    return {"content-type": "image/jpeg"}, page


@pytest.mark.parametrize("form", [multipart, as_base64, raw], ids=lambda form: form.__name__)
def test_a_page_is_read_as_without_the_service(api: Any, page: bytes, expected: Any, form: Any) -> None:
    headers, body = form(page)
    response = api.call(lambda_.http_event("POST", "/v1/read", headers=headers | AUTHORIZED, body=body))
    assert response["statusCode"] == 200, response
    assert response["headers"]["content-type"].startswith("application/json")
    assert not response["isBase64Encoded"]
    said = answer(response)
    assert (said["kind"], said["text"], (said["width"], said["height"])) == ("page", expected.text, expected.size)
    # another number of threads rounds otherwise, and a point at a threshold moves by a pixel
    for line, known in zip(said["lines"], expected.lines, strict=True):
        np.testing.assert_allclose(line["baseline"], known.baseline, rtol=0, atol=2)
    # the lines are read in batches of other widths: the last bits differ
    assert said["confidence"] == pytest.approx(expected.confidence, abs=1e-3)


def test_parameters_choose_the_format(api: Any, page: bytes) -> None:
    headers, body = raw(page)
    event = lambda_.http_event("POST", "/v1/read", query="format=alto", headers=headers | AUTHORIZED, body=body)
    response = api.call(event)
    assert response["statusCode"] == 200
    assert lambda_.body_of(response).lstrip().startswith(b"<?xml")


def test_the_probes_and_the_model_answer(api: Any) -> None:
    assert answer(api.call(lambda_.http_event("GET", "/readyz"))) == {"status": "ready"}
    model = answer(api.call(lambda_.http_event("GET", "/v1/model", headers=AUTHORIZED)))
    assert model["framework"] == "numpy"


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        ({}, b"no picture", 401),
        ({"authorization": "Bearer another", "content-type": "image/png"}, b"no picture", 401),
        (AUTHORIZED | {"content-type": "image/png"}, b"no picture", 422),
        (AUTHORIZED | {"content-type": "application/json"}, b"{", 400),
        (AUTHORIZED | {"content-type": "text/css"}, b"no picture", 415),
        # 4.4 MiB is the most that Lambda lets through in base64
        (AUTHORIZED | {"content-type": "image/png"}, bytes(4_700_000), 413),
    ],
    ids=["no-token", "wrong-token", "no-picture", "no-json", "wrong-type", "too-large"],
)
def test_problems_are_those_of_the_service(api: Any, headers: dict[str, str], body: bytes, status: int) -> None:
    response = api.call(lambda_.http_event("POST", "/v1/read", headers=headers, body=body))
    assert response["statusCode"] == status, response
    assert response["headers"]["content-type"] == "application/problem+json"
    assert answer(response).keys() >= {"type", "title", "status", "detail", "request"}
    assert not response["isBase64Encoded"], "problems are text"


def test_the_request_id_comes_back(api: Any) -> None:
    response = api.call(lambda_.http_event("GET", "/healthz", headers={"x-request-id": "mine-1"}))
    assert response["headers"]["x-request-id"] == "mine-1"


def test_what_is_no_http_request_is_an_error_and_the_function_goes_on(api: Any) -> None:
    request_id = api.send({"source": "aws.events"})
    kind, answered, content = api.answer()
    assert (kind, answered) == ("error", request_id)
    assert content["errorType"] == "RuntimeError"
    assert api.call(lambda_.http_event("GET", "/healthz"))["statusCode"] == 200


def test_a_document_that_takes_too_long_is_answered_before_lambda_ends_the_process(page: bytes) -> None:
    api = lambda_.RuntimeAPI(seconds=0.55)  # of which 0.05 s are left for reading
    with lambda_.function(api, FOURHANDS_TOKEN=TOKEN):
        headers, body = raw(page)
        response = api.call(lambda_.http_event("POST", "/v1/read", headers=headers | AUTHORIZED, body=body))
    api.close()
    assert response["statusCode"] == 504, response


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({}, "FOURHANDS_TOKEN"),
        ({"FOURHANDS_TOKEN": "short"}, "16"),
        ({"FOURHANDS_WITHOUT_TOKEN": "1", "FOURHANDS_RUN": "nowhere"}, "nowhere"),
        ({"FOURHANDS_WITHOUT_TOKEN": "1", "FOURHANDS_MAX_PAGE": "3"}, "FOURHANDS_MAX_PAGES"),
        ({"FOURHANDS_WITHOUT_TOKEN": "1", "FOURHANDS_MAX_PAGES": "many"}, "expected a number"),
    ],
    ids=["no-token", "short-token", "no-run", "unknown-name", "no-number"],
)
def test_a_wrong_setting_is_told_while_the_function_starts(environment: dict[str, str], said: str) -> None:
    api = lambda_.RuntimeAPI()
    with lambda_.function(api, **environment) as process:
        kind, _, content = api.answer()
        assert kind == "init"
        assert content["errorType"] == "UserError"
        assert said in content["errorMessage"]
        assert process.wait(10) == 1
    api.close()
    assert api.first_next is None, "it asks for no event"
