from __future__ import annotations

import pytest

from simulators.broker import BrokerMissing, find_mosquitto
from tests.support.required import missing


@pytest.fixture(scope="session")
def mosquitto() -> None:
    """Customers' tests are skipped without a broker; ours must not be where everything has to be there."""
    try:
        find_mosquitto()
    except BrokerMissing as error:
        missing(str(error))
