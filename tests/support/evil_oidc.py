"""An OpenID provider that says whatever a test wants: real HTTP, real signatures, and none of the rules."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

from joserfc import jwt
from joserfc.jwk import KeySet, RSAKey


def new_key(kid: str) -> RSAKey:
    return RSAKey.generate_key(2048, {"kid": kid, "use": "sig", "alg": "RS256"})


@dataclass
class EvilProvider:
    issuer: str = ""
    key: RSAKey = field(default_factory=lambda: new_key("one"))
    published: list[RSAKey] = field(default_factory=list)
    document: dict[str, Any] = field(default_factory=dict)  # what it says of itself otherwise
    id_token: str | None = None
    status: int = 200
    asked: list[str] = field(default_factory=list)
    exchanged: list[dict[str, str]] = field(default_factory=list)

    def claims(self, **changes: Any) -> dict[str, Any]:
        """Right ones but for ``changes``; None takes a claim away."""
        now = int(time.time())
        right = {"iss": self.issuer, "sub": "s-1", "aud": "tillmedic", "iat": now, "exp": now + 300}
        return {name: value for name, value in (right | changes).items() if value is not None}

    def says(self, key: RSAKey | None = None, header: dict[str, Any] | None = None, **changes: Any) -> None:
        signer = key or self.key
        head = header or {"alg": "RS256", "kid": signer.kid}
        self.id_token = jwt.encode(head, self.claims(**changes), signer, algorithms=["RS256"])

    def answer(self, path: str, body: str) -> dict[str, Any]:
        self.asked.append(path)
        if path == "/.well-known/openid-configuration":
            places = {name: f"{self.issuer}/{name}" for name in ("authorization_endpoint", "token_endpoint")}
            return {"issuer": self.issuer, "jwks_uri": f"{self.issuer}/jwks"} | places | self.document
        if path == "/jwks":
            return dict(KeySet([*(self.published or [self.key])]).as_dict(private=False))
        self.exchanged.append({name: values[0] for name, values in parse_qs(body).items()})
        return {"access_token": "a", "token_type": "Bearer"} | ({"id_token": self.id_token} if self.id_token else {})


@contextmanager
def evil_provider() -> Iterator[EvilProvider]:
    evil = EvilProvider()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._say(evil.answer(self.path, ""))

        def do_POST(self) -> None:
            self._say(evil.answer(self.path, self.rfile.read(int(self.headers["content-length"])).decode()))

        def _say(self, answer: dict[str, Any]) -> None:
            content = json.dumps(answer).encode()
            self.send_response(evil.status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    evil.issuer = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield evil
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
