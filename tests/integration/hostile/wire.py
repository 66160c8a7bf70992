"""Plants what a device says: over the real broker, as a link that leaves nothing out."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import msgspec

from protocol import codec
from protocol.capabilities import Capabilities, DeviceCapabilities
from protocol.commands import Command
from protocol.executions import ExecutionState
from protocol.live import LiveProgress, LiveReport
from protocol.parameters import Choice, Parameter, ParamType, Words
from protocol.records import (
    ExecutionReport,
    FaultCleared,
    FaultRaised,
    HealthColumns,
    Outcome,
    RecordBody,
    SecurityEvent,
    Severity,
    Tombstone,
    Verdict,
)
from protocol.session import Presence, PresenceStatus
from protocol.signing import Envelope
from protocol.streams import StreamKind
from protocol.topics import Up
from tests.fleet_server.factories import ECHO, PING, RESTART
from tests.integration.hostile.fields import Field
from tests.integration.hostile.words import Planted
from tests.support.wire_agent import WireAgent


class Speaker:
    """``longest``: by the name of a field."""

    def __init__(self, link: WireAgent, planted: Planted, fields: list[Field]) -> None:
        self._link = link
        self._planted = planted
        self._fields = {one.name: one for one in fields if one.door == "device"}
        link.on_command = self._answer

    def introduce(self) -> None:
        self._link.connect()
        self._link.greet()
        self._link.publish(Up.CAPABILITIES, codec.to_json(Capabilities([self._declared()])))
        self._link.hello(agent_version=self._says("up/hello agent_version"))

    def speak(self) -> None:
        now, says = self._link.wall_ms(), self._says
        self._link.send(
            FaultRaised(
                "escpos.PAPER_OUT", Severity.MAJOR, now, now, evidence=says("record.FaultRaised body.evidence")
            ),
            FaultRaised("escpos.COVER_OPEN", Severity.MAJOR, now, now),
            FaultCleared("escpos.COVER_OPEN", now, now, evidence=says("record.FaultCleared body.evidence")),
            self._verdict(None),
            SecurityEvent("agent.CLOCK_SET", says("record.SecurityEvent body.detail")),
            Tombstone("ab" * 16, 1, 2, 0, 2, says("record.Tombstone body.reason")),
        )
        samples: list[Any] = [says("record.HealthColumns body.columns.{value}[]")]
        self._link.send(HealthColumns(now, 1000, 1, {"net.operator": samples}), kind=StreamKind.BULK)
        self._link.await_ack(self._link.next_seq[StreamKind.BULK] - 1, StreamKind.BULK)

    def say_live(self) -> None:
        progress = LiveProgress("00000000-0000-4000-8000-000000000000", 5, self._says("up/live progress[].note"))
        samples: dict[str, Any] = {"net.operator": self._says("up/live samples.{value}")}
        report = LiveReport(self._link.link, self._link.wall_ms(), samples, [progress])
        self._link.publish(Up.LIVE, codec.to_json(report))

    def leave(self) -> None:
        reason = self._says("up/presence reason")
        self._link.publish(Up.PRESENCE, codec.to_json(Presence(self._link.session, PresenceStatus.OFFLINE, reason)))

    def say_what_must_be_refused(self) -> Iterator[Field]:
        """Each closed field of a record with words in it, and what is no record at all."""
        for name, field in self._fields.items():
            if not field.is_open and name.startswith("record"):
                self._send_raw(self._broken(field))
                yield field
        yield self._fields[self._declare_a_pattern()]
        for kind in (Up.HELLO, Up.CAPABILITIES, Up.URGENT, Up.BULK, Up.LIVE, Up.PRESENCE):
            self._link.publish(kind, self._planted.text("a message of no form").encode("utf-8", "surrogatepass"))
        # A broker cuts off who sends what steers as one.
        self._link.publish(Up.BULK, b"{}", self._planted.text("a message's content type", rung=1))

    def _declare_a_pattern(self) -> str:
        name = "up/capabilities devices[].actions[].params[].pattern"
        whole = json.loads(codec.to_json(Capabilities([self._declared()])))
        put(whole, "devices[].actions[].params[].pattern", self._says(name))
        self._link.publish(Up.CAPABILITIES, json.dumps(whole).encode())
        return name

    def _send_raw(self, record: bytes) -> None:
        at = self._link.next_seq[StreamKind.URGENT]
        self._link.send_at(at, [record])
        self._link.next_seq[StreamKind.URGENT] += 1

    def _broken(self, field: Field) -> bytes:
        """A whole record of that kind, right but for one place."""
        kind = field.owner.partition(".")[2] or "SecurityEvent"
        bodies: dict[str, RecordBody] = {
            "ExecutionReport": ExecutionReport("00000000-0000-4000-8000-000000000000", ExecutionState.RUNNING),
            "HealthColumns": HealthColumns(1, 1, 1, {"net.rtt_ms": [1]}),
            "FaultRaised": FaultRaised("a.B", Severity.MINOR, 1, 1),
            "FaultCleared": FaultCleared("a.B", 1, 1),
            "Verdict": self._verdict(None, is_plain=True),
            "Tombstone": Tombstone("ab" * 16, 1, 2, 0, 2, "full"),
        }
        body = bodies.get(kind, SecurityEvent("agent.CLOCK_SET"))
        whole = json.loads(codec.to_json(self._link.record(body)))
        text = self._planted.text(field.name, field.longest)
        if "{name}" in field.place:
            whole["body"]["columns"] = {text: [1]}
        else:
            put(whole, field.place, text)
        return json.dumps(whole).encode()

    def _verdict(self, execution: str | None, *, is_plain: bool = False) -> Verdict:
        says: Callable[[str], str] = (lambda _name: "") if is_plain else self._says
        return Verdict(
            "net.path",
            Outcome.FAIL,
            execution=execution,
            item=says("record.Verdict body.item"),
            value=says("record.Verdict body.value"),
            unit=says("record.Verdict body.unit"),
            evidence=says("record.Verdict body.evidence"),
        )

    def _answer(self, payload: bytes) -> None:
        """A command: it runs, and is said to have failed, with words in each place."""
        envelope = msgspec.json.decode(payload, type=Envelope)
        command = msgspec.json.decode(base64.b64decode(envelope.payload), type=Command)
        names = ("step", "code", "detail", "output_tail")
        said: dict[str, Any] = {name: self._says(f"record.ExecutionReport body.{name}") for name in names}
        self._link.send(
            ExecutionReport(command.execution, ExecutionState.STORED),
            ExecutionReport(command.execution, ExecutionState.RUNNING, step=said["step"]),
            self._verdict(command.execution),
            ExecutionReport(command.execution, ExecutionState.FAILED, **said),
            device=command.audience,
        )

    def _says(self, name: str) -> str:
        return self._planted.text(name, self._fields[name].longest)

    def _declared(self) -> DeviceCapabilities:
        at = "up/capabilities devices[]"
        words = self._words
        parameter = Parameter(
            "words",
            words(f"{at}.actions[].params[].title"),
            ParamType.TEXT,
            unit=self._says(f"{at}.actions[].params[].unit"),
            default=self._says(f"{at}.actions[].params[].default")[:250],
            max_length=256,
        )
        choice = Choice(
            self._says(f"{at}.actions[].params[].choices[].value"), words(f"{at}.actions[].params[].choices[].title")
        )
        chosen = Parameter("choice", Words("选", "Choice"), ParamType.CHOICE, required=False, choices=[choice])
        step = msgspec.structs.replace(RESTART.steps[0], title=words(f"{at}.actions[].steps[].title"))
        check = msgspec.structs.replace(
            PING,
            title=words(f"{at}.actions[].title"),
            explains=words(f"{at}.actions[].explains"),
            unit=self._says(f"{at}.actions[].unit"),
            params=[parameter, chosen],
        )
        fix = msgspec.structs.replace(RESTART, steps=[step])
        return DeviceCapabilities(
            self._link.link,
            "host",
            "e_sign",
            [ECHO, check, fix],
            ["net.operator"],
            model=self._says(f"{at}.model"),
            firmware=self._says(f"{at}.firmware"),
        )

    def _words(self, name: str) -> Words:
        return Words(self._says(f"{name}.zh"), self._says(f"{name}.en"))


def put(body: Any, place: str, text: str) -> None:
    """``place``: names with dots between; ``[]``: the first of a list; ``{name}`` and ``{value}``: of a mapping."""
    parts = [part for part in place.replace("[]", ".[]").split(".") if part]
    at, last = body, parts[-1]
    for part, following in pairwise(parts):
        at = _inner(at, part, [] if following == "[]" else {})
    if last == "[]":
        at[:] = [text]
    elif last == "{name}":
        at[text] = 1
    else:
        at["words" if last == "{value}" else last] = text


def _inner(at: Any, part: str, empty: Any) -> Any:
    if part == "[]":
        at[:] = at[:1] or [empty]
        return at[0]
    if at.get(part) is None or not isinstance(at[part], type(empty)):
        at[part] = empty
    return at[part]
