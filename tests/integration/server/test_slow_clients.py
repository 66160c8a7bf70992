"""A thousand clients that never finish a request: others are served within a second, with and without a proxy."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.benchmarks.slow_clients import LIMIT_S, p99_s
from tests.support.api_process import ApiProcess, running_api_process
from tests.support.reverse_proxy import NAMES, running_proxy
from tests.support.slow_clients import Slowness

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiProcess]:
    with running_api_process(tmp_path_factory.mktemp("api"), https=True) as running:
        yield running


@pytest.mark.parametrize("slowness", list(Slowness))
def test_a_thousand_slow_clients_keep_nobody_waiting(api: ApiProcess, slowness: Slowness) -> None:
    assert p99_s(api, api.port, api.tls, slowness) < LIMIT_S


@pytest.mark.parametrize("name", NAMES)
def test_a_thousand_slow_clients_of_a_proxy_keep_nobody_waiting(api: ApiProcess, name: str, tmp_path: Path) -> None:
    with running_proxy(name, tmp_path, api) as proxy:
        assert p99_s(api, proxy.port, proxy.tls, Slowness.HEADERS) < LIMIT_S
