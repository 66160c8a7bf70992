"""How often one address may ask, whoever it says it is: for those that have no token, or a new one each time.

A pure ASGI layer before anything is looked up. Behind a proxy the address is what the proxy says; what comes from the
proxy's own machine without that word (the command line, probes of an operator) is not counted.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from fastapi.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from fleet_server.kit.rate_limit import TokenBuckets

BURST_S = 5


class AddressLimit:
    def __init__(
        self,
        app: ASGIApp,
        *,
        requests_per_s: int,
        exempt: frozenset[str],
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """``requests_per_s`` 0: no limit."""
        self._app = app
        self._rate = requests_per_s
        self._exempt = exempt
        self._now_s = now_s
        self._buckets = TokenBuckets(rate_per_s=max(1, requests_per_s), burst=max(1, requests_per_s) * BURST_S)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        client = scope.get("client")
        if scope["type"] != "http" or not client or client[0] in self._exempt or self._rate == 0:
            await self._app(scope, receive, send)
            return
        wait_s = self._buckets.take(client[0], self._now_s())
        if wait_s <= 0:
            await self._app(scope, receive, send)
            return
        retry_after_s = max(1, math.ceil(wait_s))
        detail = f"more than {self._rate} requests a second from this address: come again in {retry_after_s} s"
        headers = {"Retry-After": str(retry_after_s)}
        await JSONResponse({"code": "too_many_requests", "detail": detail}, 429, headers)(scope, receive, send)
