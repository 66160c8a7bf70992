from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from tests.support.chromium import launched_chromium

if TYPE_CHECKING:
    from playwright.sync_api import Browser

# The wall time of one example says nothing on a shared, slow machine; the time-out of the whole test does.
settings.register_profile("steady", deadline=None, print_blob=True)
# The same examples each time, so that a red run says something about the change and can be repeated.
settings.register_profile("repeatable", deadline=None, print_blob=True, derandomize=True)
# Whoever starts a run in the background has it ignore Ctrl-C, and all programs that tests start would do so too.
if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
settings.load_profile("repeatable" if os.environ.get("CI") == "true" else "steady")


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """One browser for all tests that look at pages."""
    with launched_chromium() as browser:
        yield browser
