"""Renews the agent's certificate while it runs: at two thirds of its life, when it has ended, or when the broker keeps
refusing it (another issuing authority may have taken over).

A thread of its own, for it asks over the network. It asks by HTTPS with a proof of the present key; what it gets is
believed because it leads to the enrolment's authority, whoever answered. Between tries it waits, longer each time; of
two devices of one age neither asks when the other does.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from device_agent.adapters import enrolment_door, identity_files
from device_agent.config import AgentConfig
from device_agent.core.ports import Dice
from device_agent.errors import AgentError

FIRST_LOOK_S: Final = 20.0
LOOK_EVERY_S: Final = 600.0
RETRY_FIRST_S: Final = 60.0
RETRY_CAP_S: Final = 4 * 3600.0
# Connections in a row that TLS or the broker ended before it said a word.
REFUSED_BEFORE_ASKING: Final = 5
# Of the life: a fleet that was enrolled in an hour does not renew in one.
_SPREAD: Final = 0.05

_log = logging.getLogger(__name__)


def is_due(begins: datetime, ends: datetime, now: datetime, share: float) -> bool:
    """``share``: between 0 and 1, of the spread."""
    return now >= begins + (ends - begins) * (2 / 3 + _SPREAD * share)


class Renewer:
    """``refused`` tells how often in a row the broker has refused; ``on_renewed`` makes the link connect anew."""

    def __init__(
        self,
        config: AgentConfig,
        now_ms: Callable[[], int],
        refused: Callable[[], int],
        on_renewed: Callable[[], None],
        dice: Dice,
    ) -> None:
        self._config = config
        self._now_ms = now_ms
        self._refused = refused
        self._on_renewed = on_renewed
        self._dice = dice
        self._share = dice.uniform()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._failures = 0

    def start(self) -> None:
        """Without a server's address, as bundles of before have none, somebody carries certificates."""
        if self._config.who.server_url:
            self._thread = threading.Thread(target=self._run, name="renewal", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        self._stop.set()

    def look(self) -> bool:
        """Whether it has renewed. Raises what stands in the way."""
        link = self._config.who.link
        ca_pem = self._config.bundled("ca.crt").read_text("ascii")
        present = identity_files.load_identity(self._config.bundle, self._config.state_folder, link)
        now = datetime.fromtimestamp(self._now_ms() / 1000, UTC)
        is_refused = self._refused() >= REFUSED_BEFORE_ASKING
        if not is_refused and not is_due(present.begins_at, present.ends_at, now, self._share):
            return False
        server = enrolment_door.Server(self._config.who.server_url, ca_pem, has_public_name=True, hears_no_secret=True)
        key = identity_files.next_key(self._config.state_folder)
        certificate = enrolment_door.renew(server, link, present, key)
        if certificate is None:
            _log.warning("the certificate ended too long ago: a person has to let this device in again")
            return False
        identity_files.keep_renewed(self._config.state_folder, certificate, ca_pem, link, key)
        _log.info("the certificate was renewed")
        self._on_renewed()
        return True

    def _run(self) -> None:
        wait_s = FIRST_LOOK_S
        while not self._stop.wait(wait_s):
            try:
                renewed = self.look()
            except (AgentError, OSError, ValueError) as error:
                _log.warning("the certificate could not be renewed: %s", error)
                wait_s = self._longer_s()
            else:
                wait_s = self.wait_after_s(renewed=renewed)

    def wait_after_s(self, *, renewed: bool) -> float:
        """Until the next look. A broker that refuses whatever it is shown, for a reason of its own, must not have all
        devices ask for one certificate after the other.
        """
        if renewed and self._refused() >= REFUSED_BEFORE_ASKING:
            return self._longer_s()
        if self._refused() == 0:
            self._failures = 0
        return LOOK_EVERY_S

    def _longer_s(self) -> float:
        ceiling_s: float = min(RETRY_CAP_S, RETRY_FIRST_S * 2**self._failures)
        self._failures = min(self._failures + 1, 16)
        return ceiling_s * (0.5 + self._dice.uniform() / 2)
