"""Every route, tried by somebody of every role, for what is theirs and for what is another tenant's, by tokens narrowed
to one scope, and by nobody. What is expected stands in route_matrix.toml.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from fastapi.routing import APIRoute
from sqlalchemy import Engine

from fleet_server.auth.roles import Permission, Role
from fleet_server.db import transaction
from fleet_server.kit.pagination import encode_cursor
from fleet_server.kit.times import utc_now
from tests.fleet_server.two_tenants import (
    LETTERS,
    OURS,
    PLAYBOOK,
    SECRET,
    THEIRS,
    TURN_DATE,
    Two,
    add_token,
    bearer,
    two_tenants,
)
from tests.fleet_server.waiting_rows import (
    new_assignment,
    new_awaited,
    new_device,
    new_enrolment,
    new_freeze,
    new_permit,
    new_retired,
)

MATRIX = tomllib.loads(Path(__file__).with_name("route_matrix.toml").read_text("utf-8"))
ACTIONS = {"check": "agent.echo", "test": "printer.print_test", "fix": "app.restart"}
TOMORROW = (utc_now() + timedelta(days=1)).date().isoformat()
DOORS = ("/api/v1/executions", "/api/v1/inspections", "/api/v1/playbook")
INSPECTION_FORM = {"name": "nightly", "checks": "agent.echo", "days": "1", "at": "02:00", "version": "99"}
BODIES: dict[str, dict[str, Any]] = {
    "visits": {"tenant": THEIRS},
    "consent": {"code": "123456"},
    "signatures": {"key_id": "0" * 32, "signature_base64": "AAAA"},
    "retirement": {"reason": "swapped"},
    **{key: {"reason": "because of a test"} for key in ("refuse", "stop")},
    **{key: {"envelope": "{}"} for key in ("permits", "lift", "break-glass", "anchors")},
}
QUERIES = {
    "/api/v1/health/distribution": "metric=batt.level_pct",
    "/api/v1/health/export": "from=2026-01-01T00:00:00Z&to=2026-01-02T00:00:00Z&device={device_id}",
    "/api/v1/faults": "device={device_id}",
    "/api/v1/executions": "device={device_id}",
    "/fleet/rows": "cursor={cursor}",
    "/devices/{device_id}/health/export": "from=2026-01-01T00:00:00Z&to=2026-01-02T00:00:00Z",
    "/search": "q={serial}",
    "/search/palette": "q={serial}",
    "/open": "sn={serial}",
    "/distribution": "metric=batt.level_pct",
}


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the matrix. ``variant``: what is asked for, where that decides."""

    door: str
    method: str
    path: str
    variant: str
    expected: dict[str, Any]

    def answer(self, role: Role, tenant: str) -> int:
        if "public" in self.expected:
            return int(self.expected["public"])
        if role not in {LETTERS[letter] for letter in self.expected["may"]}:
            # That a role does not reach it is said without looking whether it is there; what a run needs, after that.
            return 404 if tenant == THEIRS and self.variant and self.expected["foreign"] == 404 else 403
        return int(self.expected["answer" if tenant == OURS else "foreign"])


def lines(door: str) -> list[Line]:
    found = []
    for name, expected in MATRIX[door].items():
        route, _, variant = name.partition(" #")
        method, _, path = route.partition(" ")
        found.append(Line(door, method, path, variant, expected))
    return found


@pytest.fixture(name="two")
def _two(engine: Engine, tmp_path: Path) -> Iterator[Two]:
    with two_tenants(engine, tmp_path) as two:
        for tenant, fleet in ((OURS, two.ours), (THEIRS, two.theirs)):
            # For lists, which have something to leak then.
            new_awaited(engine, tenant, fleet)
            new_permit(engine, tenant)
            new_freeze(engine, tenant)
            new_retired(engine, tenant, fleet.site)
            for state in ("open", "pending"):
                new_enrolment(engine, tenant, fleet.site, state)
        yield two


def routes(two: Two, *, in_schema: bool) -> set[tuple[str, str]]:
    found = set()
    for included in two.app.routes:
        router = getattr(included, "original_router", None)
        for route in [] if router is None else router.routes:
            assert isinstance(route, APIRoute)
            if route.include_in_schema is in_schema:
                found |= {(method, route.path.replace(":path", "")) for method in route.methods or ()}
    return found


def test_every_route_has_its_line_and_every_line_its_route(two: Two) -> None:
    documented = {(method.upper(), path) for path, methods in two.app.openapi()["paths"].items() for method in methods}
    assert documented == routes(two, in_schema=True)
    assert {(line.method, line.path) for line in lines("api")} == documented
    assert {(line.method, line.path) for line in lines("console")} == routes(two, in_schema=False)


def test_no_other_door_is_open(two: Two) -> None:
    """What the framework adds by itself."""
    plain = {getattr(route, "path", None) for route in two.app.routes}
    assert plain - {None} == {"/openapi.json"}


@pytest.mark.parametrize("door", ["api", "console"])
def test_every_route_for_every_role_and_both_tenants(two: Two, door: str) -> None:
    """Whoever asks asks for what the first tenant has: its own people, and those of the second with guessed ids."""
    wrong, tried = [], 0
    for line in lines(door):
        for tenant in (OURS, THEIRS):
            for role in Role:
                answer = ask(two, line, tenant, role)
                tried += 1
                if answer.status_code != line.answer(role, tenant):
                    wrong.append(f"{line.method} {line.path} {line.variant} {role} of {tenant}: {answer.status_code}")
                if tenant == THEIRS and leaked(answer):
                    wrong.append(
                        f"{line.method} {line.path} {line.variant} {role} of {tenant}: told what is not theirs"
                    )
    assert not wrong, "\n".join(wrong)
    assert tried == len(lines(door)) * len(Role) * 2


@pytest.mark.parametrize("door", ["api", "console"])
def test_every_route_without_a_sign_in(two: Two, door: str) -> None:
    wrong = []
    for line in lines(door):
        answer = send(two, line, {}, {})
        expected = line.expected.get("public", 401 if door == "api" else 303)
        if answer.status_code != expected or leaked(answer):
            wrong.append(f"{line.method} {line.path} {line.variant}: {answer.status_code}")
        if door == "console" and "public" not in line.expected:
            assert answer.headers["location"].startswith("/sign-in")
    assert not wrong, "\n".join(wrong)


def test_every_route_takes_the_one_scope_that_it_needs(two: Two) -> None:
    wrong = []
    for number, line in enumerate(line for line in lines("api") if "scope" in line.expected):
        scope = line.expected["scope"]
        # A run is read and asked for at one door, whose own scope is needed as well.
        door = {"executions.read"} if line.path.startswith(DOORS) else set()
        # A walk is asked for with all that its steps need.
        door |= {"executions.request_check"} if line.variant == "fix" and "playbook" in line.path else set()
        tries: list[tuple[set[str], int]] = [
            ({scope} | door, line.expected["answer"]),
            ({*Permission} - {scope}, 403),
            (set(), 403),
        ]
        for kind, (scopes, expected) in enumerate(tries):
            name = f"{number}-{kind}"
            with transaction(two.engine) as session:
                add_token(session, OURS, name, Role.OPERATOR, scopes)
            answer = send(two, line, bearer(OURS, name), {})
            if answer.status_code != expected:
                wrong.append(f"{line.method} {line.path} {line.variant} {sorted(scopes)}: {answer.status_code}")
    assert not wrong, "\n".join(wrong)


def ask(two: Two, line: Line, tenant: str, role: Role) -> Any:
    if line.door == "api":
        return send(two, line, bearer(tenant, role.value), {})
    cookie, csrf = two.session_of(tenant, role)
    return send(two, line, cookie, {"csrf": csrf})


def send(two: Two, line: Line, headers: dict[str, str], form: dict[str, str]) -> Any:
    """As if for the first tenant's: its device, its run, its serial number."""
    run = _run(two, line)
    names = {
        "device_id": _device(two, line),
        **dict.fromkeys(("execution_id", "run_id"), run),
        "person_id": f"p-{OURS}-{Role.VIEWER}",
        "deed": "unlock",
        "permit_id": new_permit(two.engine, OURS) if "{permit_id}" in line.path else "",
        "enrolment_id": _enrolment(two, line) if "{enrolment_id}" in line.path else "",
        "site_id": two.ours.site,
        "playbook": PLAYBOOK,
        "walk_id": _walk(two, line),
        "inspection_id": two.inspections["ended" if line.path.endswith("/end") else "active"],
        "date": TURN_DATE,
        "tenant_id": THEIRS,
        "assignment_id": _assignment(two) if "{assignment_id}" in line.path else "",
        "freeze_id": new_freeze(two.engine, OURS) if "{freeze_id}" in line.path else "",
        "name": "tokens.css" if line.path.startswith("/static") else ACTIONS["check"],
        "path": "data/any.bin",
        "serial": "SND-ONE-TERMINAL",
        "cursor": encode_cursor(0, ""),
    }
    query = QUERIES.get(line.path, "").format(**names)
    url = line.path.format(**names) + (f"?{query}" if query else "")
    two.client.cookies.clear()
    if line.method == "GET":
        return two.client.get(url, headers=headers)
    if line.door == "api":
        return two.client.request(line.method, url, headers=headers, json=_body(two, line))
    if line.path.startswith("/inspections"):
        form = {**INSPECTION_FORM, **form}
    more = {"how": "person", "q": "nobody", "which": "person:nobody", "reason": "because of a test"}
    more |= {"reason": "swapped"} if line.path.endswith("/retirement") else {}
    more |= {"action": ACTIONS.get(line.variant, ""), "device": "prn1", "fault": "paper_out", "code": "123456"}
    if line.path == "/freezes":
        more |= {"first": TOMORROW, "last": TOMORROW}
    if line.path == "/assignments":
        more |= {"technician": f"technician.{OURS}", "device": two.ours.terminal, "first": TOMORROW, "last": TOMORROW}
    return two.client.post(url, headers=headers, data={**more, **form})


def _walk(two: Two, line: Line) -> str:
    if line.method == "POST" and line.path.endswith(("/playbook-runs", "/playbooks/{playbook}")):
        # One at a time on a device.
        two.end_walks()
    return two.new_walk(OURS) if line.method == "POST" and "/{walk_id}/" in line.path else two.walk


def _run(two: Two, line: Line) -> str:
    """What is ended by the request is made for it."""
    if line.path.startswith("/api/v1/approvals/"):
        return new_awaited(two.engine, OURS, two.ours)
    return two.new_run(OURS, line.variant) if line.path.endswith("/cancel") else two.runs[OURS, "check"]


def _device(two: Two, line: Line) -> str:
    if not line.path.endswith("/retirement"):
        return two.ours.terminal
    is_gone = line.door == "api" and line.method == "GET"
    return (new_retired if is_gone else new_device)(two.engine, OURS, two.ours.site)


def _enrolment(two: Two, line: Line) -> str:
    return new_enrolment(two.engine, OURS, two.ours.site, "open" if line.path.endswith("/withdraw") else "pending")


def _assignment(two: Two) -> str:
    """Of somebody who asks for nothing here."""
    return new_assignment(two.engine, OURS, two.ours.terminal, assignee=f"p-{OURS}-nobody")


def _body(two: Two, line: Line) -> dict[str, Any] | None:
    match line.path.rpartition("/")[2]:
        case "inspections" | "preview":
            return {"name": "nightly", "checks": ["agent.echo"]}
        case "{inspection_id}":
            return {"name": "nightly", "checks": ["agent.echo"], "version": 99}
        case "playbook-runs":
            return {"device": two.ours.terminal, "playbook": PLAYBOOK}
        case "executions":
            return {"device": two.ours.terminal, "action": ACTIONS[line.variant], "params": {}}
        case "site" | "approve":
            return {"site": two.ours.site}
        case _ if line.method == "PATCH":
            return {"phone": "02155550102"}
        case "assignments":
            until = f"{TOMORROW}T00:00:00Z"
            return {"assignee": f"technician.{OURS}", "device": two.ours.terminal, "to": until}
        case "freezes":
            return {"reason": "because of a test", "from": f"{TOMORROW}T00:00:00Z", "to": f"{TOMORROW}T01:00:00Z"}
        case last:
            return BODIES.get(last)


def leaked(answer: Any) -> bool:
    return SECRET in answer.text
