from __future__ import annotations

import tomllib

from protocol.version import PROTOCOL_VERSION, RELEASE, SERVER_SPEAKS
from tests.architecture.source_tree import ROOT


def test_release_that_agents_tell_is_the_one_that_is_packed() -> None:
    assert tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"] == RELEASE


def test_server_speaks_the_current_version() -> None:
    assert SERVER_SPEAKS[0] == PROTOCOL_VERSION
