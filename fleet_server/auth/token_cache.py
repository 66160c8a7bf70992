"""Who a token was a moment ago, so that a busy program costs no query a request.

A revoked token lives on for at most `TTL_S`.
"""

from __future__ import annotations

from threading import Lock

from fleet_server.auth.roles import Actor

TTL_S = 5.0
MAX_TOKENS = 1024


class TokenCache:
    """Invariant: at most `MAX_TOKENS` entries; the oldest goes first. Safe in threads."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._known: dict[str, tuple[Actor, float]] = {}

    def get(self, digest: str, now_s: float) -> Actor | None:
        with self._lock:
            actor, known_at = self._known.get(digest, (None, 0.0))
        return actor if now_s - known_at < TTL_S else None

    def put(self, digest: str, actor: Actor, now_s: float) -> None:
        with self._lock:
            self._known.pop(digest, None)
            self._known[digest] = (actor, now_s)
            while len(self._known) > MAX_TOKENS:
                del self._known[next(iter(self._known))]
