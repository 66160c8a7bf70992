from __future__ import annotations

import pytest

from protocol.catalogue.vocabulary import TerminalClass
from simulators.terminal_models import MODELS
from simulators.terminal_readings import healthy


@pytest.mark.parametrize("terminal_class", list(TerminalClass))
def test_no_share_of_a_whole_passes_the_whole(terminal_class: TerminalClass) -> None:
    for second in range(0, 7200, 60):
        readings = healthy(MODELS[terminal_class], 7, float(second))
        shares = {name: value for name, value in readings.items() if name.endswith("_pct") and isinstance(value, float)}
        assert shares
        assert all(0 <= value <= 100 for value in shares.values()), shares
