"""What each question is given: who may play a part, the topics of this run, and clients that are gone afterwards."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from fleet_server.broker.probe.client import Identity, Place, ProbeClient, Wishes
from fleet_server.broker.probe.errors import NoAnswer
from protocol.topics import PREFIX

# How long a thing is waited for that must not come.
SETTLED_S: Final = 0.7
# How long nothing may come before what is missing is called missing.
_SILENCE_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Cast:
    """Services as ingest workers are, devices as terminals are."""

    services: Sequence[Identity]
    devices: Sequence[Identity]


@dataclass(frozen=True, slots=True)
class Finding:
    """What was seen, in Chinese and English. ``kept`` None: it could not be asked."""

    kept: bool | None
    zh: str
    en: str


@dataclass(frozen=True, slots=True)
class Question:
    """``needed``: without it the product does not work or is not safe; else it is good to know."""

    code: str
    zh: str
    en: str
    needed: bool
    ask: Callable[[Stage], Finding]
    services: int = 1
    devices: int = 1


@dataclass(slots=True)
class Stage:
    place: Place
    cast: Cast
    patience: float = 1.0
    run: str = field(default_factory=lambda: secrets.token_hex(4))
    _open: list[ProbeClient] = field(default_factory=list)

    @property
    def settled_s(self) -> float:
        return SETTLED_S * self.patience

    def up(self, device: int = 0) -> str:
        return f"{PREFIX}/{self.cast.devices[device].name}/up/probe/{self.run}"

    def down(self, device: int = 0) -> str:
        return f"{PREFIX}/{self.cast.devices[device].name}/down/probe/{self.run}"

    def shared(self, group: str, device: int = 0) -> str:
        return f"$share/{group}/{self.up(device)}"

    def group(self) -> str:
        return f"probe-{secrets.token_hex(8)}"

    def service(self, number: int = 0, wishes: Wishes | None = None) -> ProbeClient:
        return self.open(self.cast.services[number], wishes)

    def device(self, number: int = 0, wishes: Wishes | None = None) -> ProbeClient:
        return self.open(self.cast.devices[number], wishes)

    def open(self, identity: Identity, wishes: Wishes | None = None) -> ProbeClient:
        client = ProbeClient(self.place, identity, wishes or Wishes())
        self._open.append(client)
        client.connect()
        return client

    def forget_session(self, identity: Identity) -> None:
        """Whatever the broker keeps for it."""
        self.open(identity, Wishes(clean_start=True, expiry_s=0)).close()

    def close(self) -> None:
        while self._open:
            self._open.pop().close()


def flood(sender: ProbeClient, topic: str, count: int, word: str = "") -> None:
    """Numbered messages; raises ``NoAnswer`` when one is not taken."""
    for number in range(count):
        sender.send(topic, f"{word}{number}".encode())


def collected(stage: Stage, client: ProbeClient, count: int) -> list[str]:
    """Payloads of up to ``count`` messages, and of those too many that come right after; ends when nothing comes."""
    return collected_by(stage, [client], count)[0]


def collected_by(stage: Stage, clients: Sequence[ProbeClient], count: int) -> list[list[str]]:
    """The same of several that share them. A slow broker is not a broker that loses: only silence ends the wait."""
    shares: list[list[str]] = [[] for _ in clients]
    quiet_since_s, held = time.monotonic(), 0
    while held < count and time.monotonic() - quiet_since_s < _SILENCE_S * stage.patience:
        for share, client in zip(shares, clients, strict=True):
            share.extend(_payloads(client, count, 0.05))
        if sum(map(len, shares)) > held:
            quiet_since_s, held = time.monotonic(), sum(map(len, shares))
    if held >= count:
        for share, client in zip(shares, clients, strict=True):
            share.extend(_payloads(client, count, stage.settled_s / len(clients)))
    return shares


def asked(question: Question, place: Place, cast: Cast, patience: float = 1.0) -> Finding:
    """Its answer; a broker that does not answer has not kept the promise."""
    missing = []
    if len(cast.services) < question.services:
        missing.append(f"{question.services} --cert")
    if len(cast.devices) < question.devices:
        missing.append(f"{question.devices} --device-cert")
    if missing:
        what = ", ".join(missing)
        return Finding(None, f"未询问：需要 {what}", f"not asked: needs {what}")
    stage = Stage(place, cast, patience)
    try:
        return question.ask(stage)
    except NoAnswer as error:
        return Finding(False, f"没有得到应答（{error}）", f"no answer ({error})")
    finally:
        stage.close()


def _payloads(client: ProbeClient, count: int, patience_s: float) -> list[str]:
    return [message.payload.decode(errors="replace") for message in client.take(count, patience_s)]
