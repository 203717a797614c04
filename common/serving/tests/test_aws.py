"""The settings of the function of AWS Lambda."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from common.errors import UserError
from common.serving import aws

pytest.importorskip("fastapi", reason='needs fastapi: pip install "fourhands[serve]"')


def test_settings_are_those_of_the_environment() -> None:
    config, token = aws.settings(
        {
            "FOURHANDS_TOKEN": "a-token-of-twenty-one\n",
            "FOURHANDS_RUN": "run",
            "FOURHANDS_SECONDS": "2.5",
            "FOURHANDS_MAX_PAGES": "3",
            "FOURHANDS_LOG_TEXT": "1",
            "FOURHANDS_DATA": "of other commands",
            "AWS_REGION": "of AWS",
        }
    )
    assert token == "a-token-of-twenty-one"
    assert (config.run, config.seconds, config.max_pages, config.log_text) == (Path("run"), 2.5, 3, True)
    assert not config.url_host, "a function fetches nothing"


def test_everybody_is_let_in_only_when_it_is_said() -> None:
    assert aws.settings({"FOURHANDS_WITHOUT_TOKEN": "1"})[1] is None
    for environment in (
        {},
        {"FOURHANDS_WITHOUT_TOKEN": "0"},
        {"FOURHANDS_TOKEN": " "},
        {"FOURHANDS_TOKEN": "a-token-of-twenty-one", "FOURHANDS_WITHOUT_TOKEN": "1"},
    ):
        with pytest.raises(UserError, match="FOURHANDS_WITHOUT_TOKEN=1"):
            aws.settings(environment)


@pytest.mark.parametrize(("memory", "threads"), [("128", "1"), ("1769", "1"), ("3538", "2"), ("", "1")])
def test_there_are_no_more_threads_than_processors(memory: str, threads: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.environ", {})
    aws._limit_threads({"AWS_LAMBDA_FUNCTION_MEMORY_SIZE": memory})
    assert aws.os.environ["OPENBLAS_NUM_THREADS"] == threads


def test_numpy_is_imported_after_its_threads_are_limited() -> None:
    program = "import sys, common.serving.aws; print('numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "False"
