"""Deadlines and places of connections, on a real server and real sockets."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.responses import StreamingResponse

from fleet_server.http_protocol import Deadlines
from fleet_server.http_server import server_config
from fleet_server.security_headers import SECURITY_HEADERS
from fleet_server.settings import ServerSettings
from tests.fleet_server.factories import settings

DEADLINES = Deadlines(headers_s=0.5, body_s=0.7, stalled_s=0.5)
LARGE = b"x" * 20_000_000
app = FastAPI()


@app.get("/stream")
async def stream() -> StreamingResponse:
    async def beats() -> AsyncIterator[bytes]:
        for _ in range(12):
            yield b"beat\n"
            await asyncio.sleep(0.1)

    return StreamingResponse(beats(), media_type="text/event-stream")


@app.post("/body")
async def body(request: Request) -> int:
    return len(await request.body())


@app.get("/large")
async def large() -> Response:
    return Response(LARGE)


@contextmanager
def serving(given: ServerSettings) -> Iterator[int]:
    server = uvicorn.Server(server_config(app, given, DEADLINES))
    with socket.create_server(("127.0.0.1", 0), backlog=500) as listening:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            yield listening.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join()


@pytest.fixture
def port(tmp_path: Path) -> Iterator[int]:
    with serving(settings(tmp_path)) as port:
        yield port


def connected(port: int, said: bytes = b"", source: str = "127.0.0.1") -> socket.socket:
    link = socket.create_connection(("127.0.0.1", port), timeout=10, source_address=(source, 0))
    link.sendall(said)
    return link


def everything(link: socket.socket) -> bytes:
    with link:
        received = bytearray()
        try:
            while part := link.recv(65_536):
                received += part
        except ConnectionResetError:
            pass
        return bytes(received)


def is_cut_off(link: socket.socket) -> bool:
    """Seen by what the kernel says of the connection; nothing is read."""
    tcp_close = 7
    return link.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == tcp_close


def assert_refused(answer: bytes, status: int) -> None:
    head = answer.partition(b"\r\n\r\n")[0].decode().lower()
    assert head.startswith(f"http/1.1 {status}"), answer[:200]
    assert "connection: close" in head
    for name, value in SECURITY_HEADERS.items():
        assert f"{name}: {value}".lower() in head


def test_headers_that_do_not_end_are_answered_408(port: int) -> None:
    began = time.monotonic()
    assert_refused(everything(connected(port, b"GET /stream HTTP/1.1\r\nHost: a\r\nX-Slow: ")), 408)
    assert 0.4 < time.monotonic() - began < 5


def test_headers_that_come_byte_by_byte_win_no_time(port: int) -> None:
    link, began = connected(port, b"GET / HTTP/1.1\r\nHost: a\r\nX-Slow: "), time.monotonic()
    with link:
        link.settimeout(0.05)
        while time.monotonic() - began < 5:
            try:
                answer = link.recv(4096)
                break
            except TimeoutError:
                link.sendall(b"a")
    assert_refused(answer, 408)


def test_a_connection_that_says_nothing_is_ended_without_a_word(port: int) -> None:
    assert everything(connected(port)) == b""


def test_body_that_does_not_end_is_answered_408(port: int) -> None:
    slow = connected(port, b"POST /body HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc")
    assert_refused(everything(slow), 408)


def test_second_request_of_a_connection_has_its_own_deadline(port: int) -> None:
    whole = b"POST /body HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"
    link = connected(port)
    for _ in range(2):
        link.sendall(whole)
        answer = b""
        while not answer.endswith(b"\r\n\r\n3"):
            answer += link.recv(4096)
        assert answer.startswith(b"HTTP/1.1 200")
    link.sendall(b"GET /stream HT")
    assert_refused(everything(link), 408)


def test_client_that_reads_nothing_of_its_answer_is_cut_off(port: int) -> None:
    link = socket.socket()
    link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    link.connect(("127.0.0.1", port))
    link.settimeout(10)
    link.sendall(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n")
    ends_at = time.monotonic() + 10
    while not is_cut_off(link):
        assert time.monotonic() < ends_at
    assert len(everything(link)) < len(LARGE)


def test_an_answer_may_take_longer_than_any_deadline(port: int) -> None:
    answer = everything(connected(port, b"GET /stream HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"))
    assert answer.count(b"beat") == 12


def test_one_address_holds_so_many_connections_and_others_come_in(tmp_path: Path) -> None:
    few = replace(settings(tmp_path), http_connections_per_address=5)
    with serving(few) as port:
        kept = [connected(port, b"GET / HT", "127.0.0.9") for _ in range(5)]
        answer = everything(connected(port, b"", "127.0.0.9"))
        assert_refused(answer, 429)
        assert b"retry-after: 10" in answer.lower()
        whole = everything(connected(port, b"GET /none HTTP/1.0\r\n\r\n", "127.0.0.8"))
        assert whole.startswith(b"HTTP/1.1 404")
        for link in kept:
            link.close()


def test_when_all_places_are_taken_the_one_that_waits_longest_goes(tmp_path: Path) -> None:
    with serving(replace(settings(tmp_path), http_connections=5)) as port:
        kept = [connected(port, b"GET / HT", f"127.0.0.{number}") for number in range(10, 15)]
        assert everything(connected(port, b"GET /none HTTP/1.0\r\n\r\n")).startswith(b"HTTP/1.1 404")
        assert everything(kept[0]) == b""
        for link in kept:
            link.close()


def test_what_is_no_http_is_refused_with_the_same_headers(port: int) -> None:
    assert_refused(everything(connected(port, b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n")), 400)
