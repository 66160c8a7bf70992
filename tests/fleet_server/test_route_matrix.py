"""Every route, tried by somebody of every role, for what is theirs and for what is another tenant's, by tokens narrowed
to one scope, and by nobody. What is expected stands in route_matrix.toml.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from fastapi.routing import APIRoute
from sqlalchemy import Engine

from fleet_server.auth.roles import Permission, Role
from fleet_server.db import transaction
from fleet_server.kit.pagination import encode_cursor
from tests.fleet_server.two_tenants import (
    LETTERS,
    OURS,
    SECRET,
    THEIRS,
    Two,
    add_token,
    bearer,
    two_tenants,
)

MATRIX = tomllib.loads(Path(__file__).with_name("route_matrix.toml").read_text("utf-8"))
ACTIONS = {"check": "agent.echo", "test": "printer.print_test", "fix": "app.restart"}
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
        door = {"executions.read"} if line.path.startswith("/api/v1/executions") else set()
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
    cancels = line.path.endswith("/cancel")
    run = two.new_run(OURS, line.variant) if cancels else two.runs[OURS, "check"]
    names = {
        "device_id": two.ours.terminal,
        "execution_id": run,
        "run_id": run,
        "person_id": f"p-{OURS}-{Role.VIEWER}",
        "deed": "unlock",
        "permit_id": "p-none",
        "enrolment_id": "e-none",
        "name": "tokens.css" if line.path.startswith("/static") else ACTIONS["check"],
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
    more = {"action": ACTIONS.get(line.variant, ""), "device": "prn1", "fault": "paper_out", "code": "123456"}
    return two.client.post(url, headers=headers, data={**more, **form})


def _body(two: Two, line: Line) -> dict[str, Any] | None:
    match line.path.rpartition("/")[2]:
        case "executions":
            return {"device": two.ours.terminal, "action": ACTIONS[line.variant], "params": {}}
        case "consent":
            return {"code": "123456"}
        case "signatures":
            return {"key_id": "0" * 32, "signature_base64": "AAAA"}
        case "refuse" | "stop":
            return {"reason": "because of a test"}
        case "permits" | "lift" | "break-glass" | "anchors":
            return {"envelope": "{}"}
        case _:
            return None


def leaked(answer: Any) -> bool:
    return SECRET in answer.text
