"""Options, ids, the subjects under test, and the JSON report."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from common.errors import UserError
from common.recognizer import implementations
from common.spec import RUNGS
from conformance import golden
from conformance.checks import Subject
from conformance.manifest import lookup
from conformance.report import Report, describe
from conformance.worker import Worker, WorkerFailed

# Each fault is compiled again and runs for a moment, so XLA's optimisation costs more than it saves. Only the faults'
# processes get this; a user's own flags stay.
FAULTY_ENVIRONMENT = {"XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} --xla_backend_optimization_level=0".strip()}

PLACE = pytest.StashKey[int]()
"""Of a test, in the order of the suite."""


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("fourhands")
    group.addoption("--device", choices=("cpu", "gpu"), default="cpu", help="where the models are tried")
    group.addoption(
        "--require",
        default="",
        metavar="NAMES",
        help="comma-separated: frameworks, or gpu, whose absence fails instead of skipping",
    )
    group.addoption("--report", type=Path, metavar="FILE", help="write the results as JSON")


def pytest_configure(config: pytest.Config) -> None:
    for mark in (
        "parity: the implementations are the same model",
        "learning: the implementations learn",
        "gpu: needs a GPU",
        "faults: the suite itself is tested with planted faults",
        "full: x",
        "dtypes: the dtypes a check is tried in, if not both",
        "rungs: the rungs that a check is for, if not all",
        "gate: the row of the tolerance table that a check is held to",
        "xdist_group: of pytest-xdist, tests that one process runs",
    ):
        config.addinivalue_line("markers", mark)
    required = {name for name in config.getoption("--require").split(",") if name}
    if unknown := required - {*implementations(), "gpu"}:
        raise pytest.UsageError(
            f"--require {','.join(sorted(unknown))}: known are {', '.join(implementations())} and gpu"
        )
    # the processes share a GPU, of which JAX and TensorFlow would each take all
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
    if hasattr(config, "workerinput"):  # one of pytest-xdist's processes: the others have the other cores
        os.environ.setdefault("OMP_NUM_THREADS", "1")
    else:  # the first process, which sees what all of them report
        config.pluginmanager.register(Report(config.getoption("--report")))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "subject" not in metafunc.fixturenames:
        return
    dtypes, rungs = (
        mark.args if (mark := metafunc.definition.get_closest_marker(name)) else every
        for name, every in (("dtypes", ("float64", "float32")), ("rungs", tuple(RUNGS)))
    )
    cases = [(rung, name, dtype) for rung in rungs for name in implementations() for dtype in dtypes]
    check = metafunc.definition.originalname
    metafunc.parametrize(
        "subject",
        [pytest.param(case, marks=_marks(check, *case), id="-".join(case)) for case in cases],
        indirect=True,
    )


def _marks(check: str, rung: str, implementation: str, dtype: str) -> list[pytest.MarkDecorator]:
    marks = [pytest.mark.xdist_group(f"{rung}-{implementation}")]
    status, reason = lookup(implementation, rung, check.removeprefix("test_"), dtype)
    if status == "not applicable":
        marks.append(pytest.mark.skip(reason=f"not applicable: {reason}"))
    elif status in ("optional", "known failure"):
        marks.append(pytest.mark.xfail(strict=status == "known failure", reason=f"{status}: {reason}"))
    return marks


class Workers:
    """One process per implementation, started when it is first needed."""

    def __init__(self, required: set[str], *, strict: bool, environment: Mapping[str, str] | None = None) -> None:
        self._required = required
        self._strict = strict
        self._environment = environment
        self._workers: dict[str, Worker | UserError | WorkerFailed] = {}

    def __getitem__(self, implementation: str) -> Worker:
        """The implementation's worker; skips the test, or fails it if required, where its framework is missing."""
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
        if isinstance(found, WorkerFailed):  # it is broken, which is no reason to skip
            raise found
        if isinstance(found, UserError):
            self.missing(implementation, str(found))
        return found

    def missing(self, name: str, reason: str) -> None:
        """Skip, or fail if `name` was required."""
        (pytest.fail if name in self._required else pytest.skip)(reason)

    def close(self) -> None:
        for worker in self._workers.values():
            if isinstance(worker, Worker):
                worker.close()


def _required(config: pytest.Config) -> set[str]:
    return set(config.getoption("--require").split(","))


@pytest.fixture(scope="session", autouse=True)
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What XLA compiles for JAX is kept while the suite runs, which builds the same small models dozens of times."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("JAX_COMPILATION_CACHE_DIR", str(tmp_path_factory.mktemp("compiled")))
        patched.setenv("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
        patched.setenv("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "0")
        yield


@pytest.fixture(scope="session")
def workers(pytestconfig: pytest.Config) -> Iterator[Workers]:
    """The implementations as they are."""
    workers = Workers(_required(pytestconfig), strict=True)
    yield workers
    workers.close()


@pytest.fixture(scope="session")
def faulty_workers(pytestconfig: pytest.Config) -> Iterator[Workers]:
    """The implementations that faults are planted in; a warning may be the fault's, and does not count as caught."""
    workers = Workers(_required(pytestconfig), strict=False, environment=FAULTY_ENVIRONMENT)
    yield workers
    workers.close()


@pytest.fixture
def installed(workers: Workers) -> Callable[[str], Worker]:
    """Skips, or fails if required, where the framework of an implementation is missing."""
    return workers.__getitem__


@pytest.fixture
def device(pytestconfig: pytest.Config) -> str:
    """Where the models are tried."""
    return pytestconfig.getoption("--device")


@pytest.fixture
def subject(request: pytest.FixtureRequest, workers: Workers) -> Subject:
    """What the test is about: a rung of an implementation in a dtype."""
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
        UserError: there is none.
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
    if ended and (told := describe(item, report)):
        report.found = (item.stash[PLACE], *told)
    return report
