"""Pages and answers of the server as a signed-in person's browser asks for them, and how long each takes."""

from __future__ import annotations

import http.client
import time
import urllib.parse
from collections.abc import Callable
from http.cookies import SimpleCookie

PATIENCE_S = 60.0
# Connections, caches and statements are made once.
_WARM_UP = 5


class Browser:
    """One connection that is kept, as a browser keeps it."""

    def __init__(self, url: str, name: str, password: str, api_token: str) -> None:
        """``api_token``: for what programs ask, which take no cookie.

        Raises ``AssertionError`` when the server does not let the person in."""
        place = urllib.parse.urlsplit(url)
        self._door = http.client.HTTPConnection(place.hostname or "", place.port, timeout=PATIENCE_S)
        form = urllib.parse.urlencode({"name": name, "password": password})
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Origin": url}
        self._door.request("POST", "/sign-in", form, headers)
        answer = self._door.getresponse()
        answer.read()
        cookies = SimpleCookie()
        for value in answer.headers.get_all("Set-Cookie") or []:
            cookies.load(value)
        if not cookies:
            raise AssertionError(f"expected to be signed in as {name}, came status {answer.status} without a cookie")
        self._token = api_token
        self._cookie = "; ".join(f"{name}={morsel.value}" for name, morsel in cookies.items())

    def ask(self, address: str) -> tuple[int, bytes]:
        is_api = address.startswith("/api/")
        proof = {"Authorization": f"Bearer {self._token}"} if is_api else {"Cookie": self._cookie}
        self._door.request("GET", address, headers={**proof, "Accept-Language": "en"})
        answer = self._door.getresponse()
        return answer.status, answer.read()

    def took_ms(self, addresses: list[str], holds: Callable[[bytes], bool]) -> list[float]:
        """Each address in turn, after some that warm up. Raises ``AssertionError`` for an answer that is not ``holds``:
        an error is answered fast.
        """
        took = []
        for number, address in enumerate([*addresses[:_WARM_UP], *addresses]):
            began_s = time.perf_counter()
            status, body = self.ask(address)
            if status != 200 or not holds(body):
                raise AssertionError(f"{address} answered {status} with {len(body)} bytes that are not what was asked")
            if number >= min(_WARM_UP, len(addresses)):
                took.append((time.perf_counter() - began_s) * 1000)
        return took
