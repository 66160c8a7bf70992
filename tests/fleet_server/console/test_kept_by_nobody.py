"""What a browser is told of every page that somebody sees who is signed in."""

from __future__ import annotations

from fastapi import FastAPI

from tests.fleet_server.console.conftest import Browser
from tests.fleet_server.routes import assert_all_headers, routes_of


def test_pages_of_somebody_signed_in_are_kept_by_nobody(browser: Browser, console_app: FastAPI) -> None:
    client = browser("operator")
    pages = [path for method, path in routes_of(console_app) if method == "GET" and "{" not in path]
    seen = 0
    for path in pages:
        if path.endswith(("/stream", "/events")):
            continue
        answer = client.get(path)
        assert_all_headers({**answer.headers}, path)
        seen += answer.status_code == 200
    assert seen > 8
