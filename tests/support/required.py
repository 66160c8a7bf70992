"""Parts that a machine may lack: skipped with the reason at home, a failure where everything must be there."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest


def missing(reason: str) -> NoReturn:
    if os.environ.get("CI") == "true":
        pytest.fail(f"must be there in CI: {reason}")
    pytest.skip(reason)
