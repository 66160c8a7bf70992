"""What a real link to a real broker has carried, over a restart."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from device_agent.adapters.control_socket import ask
from device_agent.config import load
from tests.integration.agent.conftest import Site

pytestmark = pytest.mark.integration

WITH_BUDGET = (
    'time_zone = "+08:00"\n[host]\nkind = "terminal"\nsocket = "nobody.sock"\npoll_s = 0.2\n[data]\nmonth_mb = 1\n'
)
# A handshake of TLS with certificates on both sides takes more, and a minute of an idle link less.
LEAST, MOST = 2_000, 200_000


def carried(site: Site) -> dict[str, object]:
    socket = load(site.config(WITH_BUDGET)).control_socket
    return dict(list(ask(socket, {"ask": "status"}))[-1]["data"])


def test_what_the_link_carried_is_counted_and_known_after_a_restart(make_site: Callable[[str], Site]) -> None:
    site = make_site("gw-data-budget")
    agent = site.start_agent(WITH_BUDGET)
    site.fleet.until(lambda: site.fleet.capabilities, "the capabilities arrive")
    site.stop_agents()
    first = agent.runner.core.budget.used.month_bytes
    assert LEAST < first < MOST

    again = site.start_agent(WITH_BUDGET)
    site.fleet.until(lambda: len(site.fleet.hellos) >= 2, "the second hello arrives")
    told = carried(site)
    assert told["month_limit_bytes"] == 2**20
    assert told["level"] == "free"
    assert isinstance(told["month_bytes"], int)
    assert told["month_bytes"] >= first
    site.stop_agents()
    assert again.runner.core.budget.used.month_bytes >= first + LEAST
