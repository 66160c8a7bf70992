from __future__ import annotations

from itertools import product

import pytest

from device_agent.adapters.host_metrics import HostMetrics
from device_agent.drivers.measured import OF_THE_AGENT, metrics_of
from device_agent.families import ALL, HOST, LINK, TERMINAL
from protocol.capabilities import MAX_METRICS
from protocol.catalogue import metrics
from protocol.catalogue.vocabulary import TerminalClass
from simulators.terminal import SimulatedTerminal


@pytest.mark.parametrize(("family", "of_class"), list(product(ALL, TerminalClass)))
def test_what_is_declared_is_in_the_catalogue_once_and_fits_the_document(family: str, of_class: TerminalClass) -> None:
    declared = (*metrics_of(family, of_class.value), *OF_THE_AGENT)
    assert [name for name in declared if metrics.get(name) is None] == []
    assert len(declared) == len(set(declared)) <= MAX_METRICS


@pytest.mark.parametrize("of_class", TerminalClass)
def test_a_terminal_reports_nothing_that_it_did_not_declare(of_class: TerminalClass) -> None:
    terminal = SimulatedTerminal(of_class, seed=1)
    assert set(terminal.readings()) <= set(metrics_of(TERMINAL, of_class.value))


def test_a_host_reports_nothing_that_it_did_not_declare() -> None:
    assert set(HostMetrics().readings()) <= set(metrics_of(HOST, "kiosk"))


def test_a_link_that_is_not_looked_at_measures_nothing() -> None:
    assert metrics_of(LINK, "kiosk") == ()
