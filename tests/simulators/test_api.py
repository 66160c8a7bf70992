from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from simulators.api import MAX_TRIES, ApiClient, ServerRefused

pytestmark = pytest.mark.integration


@dataclass
class Played:
    """What the stand-in answers, in order, and what it was asked."""

    answers: list[tuple[int, dict[str, str], bytes]] = field(default_factory=list)
    asked: list[tuple[str, str, str, bytes]] = field(default_factory=list)


@pytest.fixture
def served() -> Iterator[tuple[ApiClient, Played]]:
    played = Played()

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            size = int(self.headers.get("Content-Length", "0"))
            token = self.headers.get("Authorization", "")
            played.asked.append((self.command, self.path, token, self.rfile.read(size)))
            status, headers, body = played.answers.pop(0)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = answer  # noqa: N815 - http.server's names

        def log_message(self, *_: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield ApiClient(f"http://127.0.0.1:{server.server_port}/", "secret"), played
    server.shutdown()
    thread.join()
    server.server_close()


Served = tuple[ApiClient, Played]


def test_the_token_goes_with_every_request(served: Served) -> None:
    api, played = served
    played.answers = [(200, {}, b'{"items": []}'), (201, {}, b'{"id": "x"}')]
    assert api.get("/api/v1/devices") == {"items": []}
    assert api.post("/api/v1/executions", {"device": "d"}) == {"id": "x"}
    assert played.asked == [
        ("GET", "/api/v1/devices", "Bearer secret", b""),
        ("POST", "/api/v1/executions", "Bearer secret", json.dumps({"device": "d"}).encode()),
    ]


def test_a_refusal_carries_the_servers_own_code(served: Served) -> None:
    api, played = served
    played.answers = [(404, {}, b'{"code": "device_not_found", "detail": "d"}')]
    with pytest.raises(ServerRefused, match="device_not_found") as refused:
        api.get("/api/v1/devices/d")
    assert (refused.value.status, refused.value.refusal) == (404, "device_not_found")


@pytest.mark.parametrize("body", [b"<html>", b"[1]", b""])
def test_a_refusal_that_is_no_answer_of_ours_is_one_all_the_same(body: bytes, served: Served) -> None:
    api, played = served
    played.answers = [(502, {}, body)]
    with pytest.raises(ServerRefused, match="HTTP 502"):
        api.get("/")


def test_too_many_requests_come_again_when_the_server_says(served: Served) -> None:
    api, played = served
    played.answers = [(429, {"Retry-After": "0"}, b"{}"), (200, {}, b'{"items": [1]}')]
    assert api.get("/")["items"] == [1]


def test_too_many_requests_end_after_some_tries(served: Served) -> None:
    api, played = served
    played.answers = [(429, {"Retry-After": "0"}, b'{"code": "too_many_requests", "detail": ""}')] * (MAX_TRIES + 1)
    with pytest.raises(ServerRefused, match="too_many_requests"):
        api.get("/")
    assert len(played.asked) == MAX_TRIES
