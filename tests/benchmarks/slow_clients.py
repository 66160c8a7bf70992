"""What others wait while a thousand clients never finish a request: on the server alone, and with a proxy before it."""

from __future__ import annotations

import ssl
import time
from pathlib import Path

from tests.benchmarks.figures import Figure, percentile
from tests.support.api_process import ApiProcess, ask, running_api_process
from tests.support.reverse_proxy import NAMES, running_proxy
from tests.support.slow_clients import SlowClients, Slowness, slow_clients

MANY = 1000
LIMIT_S = 1.0
_ASKED = 150
_PAUSE_S = 0.03
_DEADLINE_S = 60.0


def measure(folder: Path) -> list[Figure]:
    figures = []
    with running_api_process(folder, https=True) as api:
        for slowness in Slowness:
            waited = p99_s(api, api.port, api.tls, slowness)
            figures.append(Figure(f"slow clients ({slowness.value}), others' p99", waited, "s", "< 1"))
        for name in NAMES:
            beside = folder / name
            beside.mkdir()
            with running_proxy(name, beside, api) as proxy:
                waited = p99_s(api, proxy.port, proxy.tls, Slowness.HEADERS)
            figures.append(Figure(f"slow clients of {name}, others' p99", waited, "s", "< 1"))
    return figures


def p99_s(api: ApiProcess, port: int, tls: ssl.SSLContext | None, slowness: Slowness) -> float:
    with slow_clients(port, MANY, slowness, tls=tls) as slow:
        _until_held(slow, MANY * 9 // 10)
        return percentile(_took_s(api, port, tls), 0.99)


def _until_held(slow: SlowClients, many: int) -> None:
    ends_at = time.monotonic() + _DEADLINE_S
    while slow.most_held < many:
        assert time.monotonic() < ends_at, f"{slow.most_held} of {many} connections were made"
        time.sleep(0.1)


def _took_s(api: ApiProcess, port: int, tls: ssl.SSLContext | None) -> list[float]:
    """Each comes anew: half of them programs, half of them people."""
    took = []
    for number in range(_ASKED):
        began_s = time.perf_counter()
        if number % 2:
            status, _, _ = ask(port, "/api/v1/devices", tls, Authorization=f"Bearer {api.token}")
        else:
            status, _, _ = ask(port, "/sign-in", tls)
        took.append(time.perf_counter() - began_s)
        assert status == 200, status
        time.sleep(_PAUSE_S)
    return took
