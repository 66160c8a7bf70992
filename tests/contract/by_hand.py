"""What no generator can make, because it is signed with a key: one right request each, and what all were answered."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx2
import msgspec

from fleet_server.approvals.permit_making import PermitWish, signed_lift, signed_permit
from fleet_server.audit.anchors import SEED, ensure_anchor_key, sign_head
from fleet_server.audit.checking import Check
from fleet_server.issuer.client import sign_proof
from fleet_server.kit.times import utc_now
from fleet_server.signer.keys import load_key
from protocol.commands import AUTHORISATION_TYPE
from protocol.enrolment import EnrolRequest, RenewRequest, enrol_proof_bytes, read_code
from protocol.signing import SigningKey, pae
from tests.fleet_server.factories import ECHO, RESTART
from tests.support.api_process import ApiProcess
from tests.support.signing_requests import der_of, new_key, renewal_proof, request_of

_ANSWERED = re.compile(r"tillmedic_http_requests_total\{(.*)\} [1-9.e+]")
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
_INSPECTION = {"name": "By hand", "checks": [ECHO.name], "days": [1], "at": "02:00"}
_SITE = {
    **dict.fromkeys(("merchant_name_zh", "merchant_name_en", "name_zh", "name_en"), "Shop"),
    "merchant_id": "M-1",
    "timezone": "Asia/Shanghai",
}
_SERIAL, _MODEL = "BYHAND1", "A920"


class ByHand:
    """``ids``: see `Prepared.by_hand`."""

    def __init__(self, api: ApiProcess, tokens: dict[str, str], ids: dict[str, str]) -> None:
        self._keys = api.data / "server" / "keys"
        self._url = f"http://127.0.0.1:{api.port}"
        self._tokens = tokens
        self._ids = ids

    def ask_before(self) -> None:
        """All but what ends a stop. Raises for what is not answered 2xx."""
        approver = load_key(self._keys / "approver.seed")
        with self._as("approver") as ask:
            wish = PermitWish("default", "lin", [RESTART.name], [self._ids["device"]], 1.0, 1, 1)
            ask.post("/api/v1/permits", json={"envelope": signed_permit(wish, approver), "devices": []})
            self._approve(ask, approver)
            ask.post(f"/api/v1/approvals/{self._ids['refuse']}/refuse", json={"reason": "not now"})
        with self._as("operator") as ask:
            for path, body in self._right_requests():
                ask.post(path, json=body)
            ask.put(f"/api/v1/devices/{self._ids['device']}/site", json={"site": self._ids["site"]})
            self._arrange(ask)
            self._anchor(ask)
            self._enrol(ask)

    def lift(self) -> None:
        """What the generator stopped. Raises as above."""
        approver = load_key(self._keys / "approver.seed")
        with self._as("operator") as ask:
            standing = ask.get("/api/v1/signing").json()
            envelope = signed_lift(standing["tenant"], standing["epoch"], [approver])
            ask.post("/api/v1/signing/lift", json={"envelope": envelope})

    def _right_requests(self) -> Iterator[tuple[str, Any]]:
        """What is made by chance too, but is right too seldom."""
        device, until = self._ids["device"], (utc_now() + timedelta(hours=8)).isoformat()
        yield "/api/v1/assignments", {"assignee": "technician", "device": device, "to": until}
        yield "/api/v1/executions", {"device": device, "action": ECHO.name}
        yield f"/api/v1/executions/{self._ids['cancel']}/cancel", None
        yield "/api/v1/inspections/preview", _INSPECTION
        yield f"/api/v1/enrolments/{self._ids['enrolment']}/approve", {"site": self._ids["site"]}
        yield "/api/v1/freezes", {"to": until, "reason": "a feast"}
        yield "/api/v1/sites", _SITE
        yield "/api/v1/sites/import", {"csv": "\n".join((",".join(_SITE), ",".join(_SITE.values())))}
        yield "/api/v1/enrolments/pallet", {"csv": "serial_number,model,terminal_class\nBYHAND2,A920,e_sign\n"}

    def _arrange(self, ask: httpx2.Client) -> None:
        made = ask.post("/api/v1/inspections", json=_INSPECTION).json()
        ask.put(f"/api/v1/inspections/{made['id']}", json={**_INSPECTION, "version": made["version"]})

    def _as(self, role: str) -> httpx2.Client:
        headers = {"Authorization": f"Bearer {self._tokens[role]}"}
        hooks = {"response": [httpx2.Response.raise_for_status]}
        return httpx2.Client(base_url=self._url, headers=headers, event_hooks=hooks, timeout=120)

    def _approve(self, ask: httpx2.Client, key: SigningKey) -> None:
        document = base64.b64decode(ask.get(f"/api/v1/approvals/{self._ids['approve']}").json()["document_base64"])
        signature = base64.b64encode(key.private.sign(pae(AUTHORISATION_TYPE, document))).decode()
        body = {"key_id": key.id, "signature_base64": signature}
        ask.post(f"/api/v1/approvals/{self._ids['approve']}/signatures", json=body)

    def _anchor(self, ask: httpx2.Client) -> None:
        ensure_anchor_key(self._keys)
        head = ask.get("/api/v1/audit/head").json()
        check = Check(head.get("tenant", "default"), seq=head["seq"], row_hash=head["row_hash"])
        envelope = sign_head(check, None, load_key(self._keys / SEED), utc_now()).envelope
        ask.post("/api/v1/audit/anchors", json={"envelope": envelope})
        ask.get("/api/v1/audit/anchors")

    def _enrol(self, ask: httpx2.Client) -> None:
        """A device that makes its key, is let in, and renews its certificate by the next."""
        site = ask.get("/api/v1/sites").json()["items"][0]["id"]
        asked = {"serial_number": _SERIAL, "model": _MODEL, "terminal_class": "e_sign", "site": site}
        code = read_code(ask.post("/api/v1/enrolments", json=asked).json()["code"])
        assert code is not None
        key, following = new_key(), new_key()
        csr = request_of(key)
        proof = sign_proof(key, enrol_proof_bytes(code.secret, _SERIAL, _MODEL, der_of(csr)))
        wanted = msgspec.to_builtins(EnrolRequest(code.secret, _SERIAL, _MODEL, csr, proof))
        link = ask.post("/enrol/v1/requests", json=wanted).json()["enrolment"]["link"]
        csr = request_of(following)
        renewal = RenewRequest(link, csr, renewal_proof(key, link, csr))
        ask.post("/enrol/v1/renewals", json=msgspec.to_builtins(renewal))


def never_answered(api: ApiProcess, operations: Iterable[str]) -> set[str]:
    """Those that were never answered 2xx, as the API itself counts."""
    counted = httpx2.get(f"http://127.0.0.1:{api.port}/metrics", timeout=120).text
    found = set()
    for line in _ANSWERED.findall(counted):
        label = dict(_LABEL.findall(line))
        if label["status"].startswith("2"):
            found.add(f"{label['method']} {label['route']}")
    return set(operations) - found


def described(path: Path) -> set[str]:
    methods = {"get", "post", "put", "patch", "delete"}
    paths = json.loads(path.read_text("utf-8"))["paths"]
    return {f"{method.upper()} {route}" for route, of in paths.items() for method in of.keys() & methods}
