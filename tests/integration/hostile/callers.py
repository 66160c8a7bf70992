"""Plants what programs, people at the console and files say: each field in a request that is right but for it."""

from __future__ import annotations

import base64
import copy
import csv
import io
import json
from collections.abc import Callable
from contextlib import ExitStack, closing
from typing import Self

import httpx2
import msgspec

from fleet_server.approvals.permit_making import PermitWish, signed_permit
from fleet_server.console.view_models.forms import PREFIX
from protocol import codec
from protocol.commands import AUTHORISATION_TYPE
from protocol.signing import Envelope, sign
from tests.fleet_server.executions.conftest import APPROVER_KEY
from tests.integration.hostile.fields import Field
from tests.integration.hostile.installation import Installation, Person
from tests.integration.hostile.right_requests import SITE, RightRequests
from tests.integration.hostile.wire import put
from tests.integration.hostile.words import Planted

_ENTRANCE = tuple(
    f"form POST /{one}" for one in ("account", "preferences", "second-factor", "set-up", "sign-in", "step-up")
)
_SHOWN_AGAIN = frozenset({"form POST /sites/{site_id}"})
_OF_APPROVERS = ("/api/v1/approvals/", "/api/v1/permits")


class Callers:
    """``answers``: what was said to each request, to be looked at too."""

    def __init__(self, site: Installation, planted: Planted) -> None:
        self.planted = planted
        self.answers: list[httpx2.Response] = []
        self._link = site.link
        self._open = ExitStack()
        self._ask = self._open.enter_context(closing(site.client()))
        self._right = RightRequests(site, self._ask)
        self._approver = self._open.enter_context(closing(site.client("approver")))
        self._person = self._open.enter_context(closing(Person(site.url)))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_failed: object) -> None:
        self._open.close()

    def plant(self, fields: list[Field]) -> dict[str, bool]:
        """Whether the door let anything hostile in, by the field's name."""
        doors = {"api": self._by_api, "form": self._by_form, "csv": self._by_file, "signed": self._signed}
        found: dict[str, bool] = {}
        for field in sorted(fields, key=lambda one: (self._is_last(one), one)):
            found[field.name] = self._climb(field, doors[field.door])
        return found

    @staticmethod
    def _is_last(field: Field) -> tuple[bool, bool]:
        """What ends what waits, and then what ends this visit."""
        return (field.owner.startswith(_ENTRANCE), field.owner.endswith("/stop"))

    def _climb(self, field: Field, door: Callable[[Field, str], httpx2.Response]) -> bool:
        """The most hostile text that is let in. What was refused may be shown too: in an answer, or in a log."""
        mark = self.planted.mark(field.name)
        for text in dict.fromkeys(self.planted.rungs(mark, field.longest)):
            answer = door(field, self.planted.say(mark, text))
            assert answer.status_code < 500, (field.name, text, answer.text[:2000])
            assert answer.status_code != 429, field.name
            self.answers.append(answer)
            if _is_let_in(field, answer):
                return text != mark
        return False

    def _by_api(self, field: Field, text: str) -> httpx2.Response:
        method, _, path = field.owner.partition(" ")
        filled, body = self._right.of_api(field.owner)
        body = copy.deepcopy(body)
        if field.place:
            put(body, field.place, text)
        client = self._approver if path.startswith(_OF_APPROVERS) and "glass" not in path else self._ask
        return client.request(method, filled or path, json=body)

    def _by_form(self, field: Field, text: str) -> httpx2.Response:
        path = field.owner.removeprefix("form POST ")
        filled, values = self._right.of_form(path)
        if field.place.endswith("[]"):
            values[field.place[:-2]] = [text]
        else:
            values[field.place] = text
        if field.place == "{parameter}":
            values = {"action": "net.path", f"{PREFIX}words": text}
        return self._person.post(filled or path, values)

    def _by_file(self, field: Field, text: str) -> httpx2.Response:
        line = dict(SITE) if field.owner == "csv of sites" else self._right.code()
        line[field.place] = text
        out = io.StringIO()
        csv.writer(out).writerows([list(line), list(line.values())])
        path = "/api/v1/sites/import" if field.owner == "csv of sites" else "/api/v1/enrolments/pallet"
        return self._ask.post(path, json={"csv": out.getvalue()})

    def _signed(self, field: Field, text: str) -> httpx2.Response:
        """A shift permit of an approver with the text in it; of the rest that is signed, what is no envelope."""
        if field.owner != "Authorisation":
            return self._ask.post("/api/v1/signing/lift", json={"envelope": text})
        wish = PermitWish("default", "lin", ["app.restart"], [self._link], 1.0, 1, 1, "a shift")
        envelope = msgspec.json.decode(signed_permit(wish, APPROVER_KEY), type=Envelope)
        document = json.loads(base64.b64decode(envelope.payload))
        put(document, field.place, text)
        signed = sign(AUTHORISATION_TYPE, json.dumps(document).encode(), [APPROVER_KEY])
        body = {"envelope": codec.to_json(signed).decode(), "devices": []}
        return self._approver.post("/api/v1/permits", json=body)


def _is_let_in(field: Field, answer: httpx2.Response) -> bool:
    """A page may show what was typed again, with what was wrong in it."""
    assert field.owner.startswith(_ENTRANCE) or not answer.headers.get("location", "").startswith("/sign-in"), field
    is_page = field.door == "form" and answer.status_code == 200
    return 200 <= answer.status_code < 400 and not (is_page and field.owner in _SHOWN_AGAIN)
