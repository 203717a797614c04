"""Ids, the subjects under test, and the JSON report. The options are in `conformance.plugin`."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import NoReturn

import pytest

from common.errors import UserError
from common.recognizer import implementations
from common.spec import RUNGS
from conformance import golden, plugin
from conformance.checks import Subject
from conformance.manifest import lookup
from conformance.report import Report, describe
from conformance.worker import Worker, WorkerFailed

# Each fault is compiled again and runs for a moment, so XLA's optimisation costs more than it saves. Only the faults'
# processes get this; a user's own flags stay.
FAULTY_ENVIRONMENT = {"XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} --xla_backend_optimization_level=0".strip()}

PLACE = pytest.StashKey[int]()
"""A test's place in the order of the suite."""

DTYPES = ("float64", "float32")


def pytest_addoption(pluginmanager: pytest.PytestPluginManager) -> None:
    if not pluginmanager.has_plugin(plugin.__name__):  # where the suite is installed, no pyproject.toml has loaded it
        pluginmanager.register(plugin, plugin.__name__)


def pytest_configure(config: pytest.Config) -> None:
    # the processes share a GPU, and JAX and TensorFlow would each reserve all of its memory
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
    if hasattr(config, "workerinput"):  # a process of pytest-xdist: the other cores are for the other processes
        os.environ.setdefault("OMP_NUM_THREADS", "1")
    else:  # the first process, to which all others report
        config.pluginmanager.register(Report(config.getoption("--report")))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "subject" not in metafunc.fixturenames:
        return
    dtypes, rungs = (
        mark.args if (mark := metafunc.definition.get_closest_marker(name)) else every
        for name, every in (("dtypes", DTYPES), ("rungs", tuple(RUNGS)))
    )
    cases = [(rung, name, dtype) for rung in rungs for name in implementations() for dtype in dtypes]
    check = metafunc.definition.originalname
    metafunc.parametrize(
        "subject",
        [pytest.param(case, marks=_marks(check, *case, dtypes), id="-".join(case)) for case in cases],
        indirect=True,
    )


def _marks(
    check: str, rung: str, implementation: str, dtype: str, dtypes: tuple[str, ...]
) -> list[pytest.MarkDecorator]:
    marks = [pytest.mark.xdist_group(f"{rung}-{implementation}")]
    if dtype != dtypes[0]:
        marks.append(pytest.mark.full(f"checks in {dtype}, each of which ran in {dtypes[0]}"))
    status, reason = lookup(implementation, rung, check.removeprefix("test_"), dtype)
    if status == "not applicable":
        marks.append(pytest.mark.skip(reason=f"not applicable: {reason}"))
    elif status in ("optional", "known failure"):
        marks.append(pytest.mark.xfail(strict=status == "known failure", reason=f"{status}: {reason}"))
    return marks


class Workers:
    """One process per implementation, started when it is first needed."""

    def __init__(self, config: pytest.Config, *, strict: bool, environment: Mapping[str, str] | None = None) -> None:
        self._config = config
        self._strict = strict
        self._environment = environment
        self._workers: dict[str, Worker | UserError | WorkerFailed] = {}

    def __getitem__(self, implementation: str) -> Worker:
        """The implementation's worker. If its framework is missing, the test is skipped, or fails if it is required."""
        kept = self._workers.get(implementation)
        if kept is None or (isinstance(kept, Worker) and not kept.alive):  # not yet started, or ended by a failure
            worker = Worker(implementation, strict=self._strict, environment=self._environment)
            try:
                worker.request("load")
                self._workers[implementation] = worker
            except (UserError, WorkerFailed) as error:
                worker.close()
                self._workers[implementation] = error
        found = self._workers[implementation]
        if isinstance(found, WorkerFailed):  # a broken implementation is no reason to skip
            raise found
        if isinstance(found, UserError):
            self.missing(implementation, str(found))
        return found

    def missing(self, name: str, reason: str) -> NoReturn:
        """See `conformance.plugin.skip_or_fail`."""
        plugin.skip_or_fail(self._config, name, reason)

    def close(self) -> None:
        for worker in self._workers.values():
            if isinstance(worker, Worker):
                worker.close()


@pytest.fixture(scope="session", autouse=True)
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keeps what XLA compiles for JAX while the suite runs, because it builds the same small models dozens of times."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("JAX_COMPILATION_CACHE_DIR", str(tmp_path_factory.mktemp("compiled")))
        patched.setenv("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
        patched.setenv("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "0")
        yield


@pytest.fixture(scope="session")
def workers(pytestconfig: pytest.Config) -> Iterator[Workers]:
    """The implementations as they are."""
    workers = Workers(pytestconfig, strict=True)
    yield workers
    workers.close()


@pytest.fixture(scope="session")
def faulty_workers(pytestconfig: pytest.Config) -> Iterator[Workers]:
    """The implementations that faults are planted in. Warnings are no errors here: a warning does not catch a fault."""
    workers = Workers(pytestconfig, strict=False, environment=FAULTY_ENVIRONMENT)
    yield workers
    workers.close()


@pytest.fixture
def installed(workers: Workers) -> Callable[[str], Worker]:
    """Returns an implementation's worker; see `Workers`."""
    return workers.__getitem__


@pytest.fixture
def device(pytestconfig: pytest.Config) -> str:
    """The device that the models run on."""
    return pytestconfig.getoption("--device")


@pytest.fixture
def subject(request: pytest.FixtureRequest, workers: Workers) -> Subject:
    """The subject of the test: a rung of an implementation in a dtype."""
    rung, implementation, dtype = request.param
    subject = Subject(
        worker=workers[implementation], rung=rung, device=request.config.getoption("--device"), dtype=dtype
    )
    if request.node.get_closest_marker("gpu"):
        try:
            return gpu_subject(subject)
        except UserError as error:
            workers.missing("gpu", str(error))
    return subject


def gpu_subject(subject: Subject) -> Subject:
    """The subject on a GPU.

    Raises:
        UserError: there is no GPU.
    """
    moved = replace(subject, device="gpu")
    moved.model(golden.small(subject.rung))
    return moved


@pytest.fixture
def note(request: pytest.FixtureRequest) -> Callable[[str, float], None]:
    """Keep a number under a name for the report."""
    return lambda name, number: request.node.user_properties.append((name, float(number)))


@pytest.fixture
def record(request: pytest.FixtureRequest) -> object:
    """Keep a check's largest deviation for the report."""
    return lambda worst: request.node.user_properties.append(("worst", float(worst)))


def pytest_collection_finish(session: pytest.Session) -> None:
    for place, item in enumerate(session.items):
        item.stash[PLACE] = place


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo) -> object:
    report = yield
    ended = (call.when == "call" or report.outcome != "passed") and call.when != "teardown"
    if ended and (described := describe(item, report)):
        report.found = (item.stash[PLACE], *described)
    return report
