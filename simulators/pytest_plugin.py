"""The pytest plugin ``tillmedic``: simulated terminals with faults for the tests of those who integrate with Tillmedic.

It is loaded in every pytest run of an environment that has Tillmedic installed, so importing it imports nothing but
pytest; what a fixture needs is imported when a test first asks for that fixture. All names begin with ``tillmedic_``.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from simulators.testing.bench import Bench
    from simulators.testing.bench_terminal import BenchTerminal
    from simulators.testing.recorder import Recorder
    from simulators.testing.server import FleetServer


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("tillmedic", "Tillmedic: simulated payment terminals")
    group.addoption("--tillmedic-url", default="", metavar="URL", help="use this fleet server instead of starting one")
    group.addoption("--tillmedic-token", default="", metavar="TOKEN", help="API token for --tillmedic-url")
    group.addoption("--tillmedic-ca", default="", metavar="FILE", help="CA certificate of an https --tillmedic-url")


@pytest.fixture
def tillmedic_bench() -> Iterator[Bench]:
    """What the other fixtures stand on: the terminals of one test, and its recorder when it wants one."""
    from simulators.testing.bench import Bench

    # A folder of our own: a Unix socket's path has room for 107 bytes, and pytest's folders may be longer.
    with TemporaryDirectory(prefix="tillmedic-", ignore_cleanup_errors=True) as folder:
        bench = Bench(Path(folder))
        yield bench
        bench.stop()


@pytest.fixture
def tillmedic_terminal(tillmedic_bench: Bench) -> Callable[..., BenchTerminal]:
    """``tillmedic_terminal(family, fault=None, seed=1)``: simulated hardware, running until the test ends."""
    return tillmedic_bench.terminal


@pytest.fixture
def tillmedic_recorder(tillmedic_bench: Bench) -> Recorder:
    """What the agents of this test's terminals report, without broker, server or root."""
    return tillmedic_bench.recorder()


@pytest.fixture(scope="session")
def tillmedic_server(pytestconfig: pytest.Config) -> Iterator[FleetServer]:
    """A fleet server with its broker, processes of their own for the whole session; or the one that options name."""
    from simulators.testing import server
    from simulators.testing.errors import ServerMissing

    url = str(pytestconfig.getoption("--tillmedic-url"))
    if url:
        token, ca = (str(pytestconfig.getoption(name)) for name in ("--tillmedic-token", "--tillmedic-ca"))
        yield server.existing(url, token, Path(ca) if ca else None)
        return
    with TemporaryDirectory(prefix="tillmedic-server-", ignore_cleanup_errors=True) as folder:
        try:
            running = server.start(Path(folder))
        except ServerMissing as missing:
            pytest.skip(str(missing))
        yield running
        running.stop()
