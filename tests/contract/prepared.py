"""What is there to be asked for: rows behind the ids that requests name, so that each operation is really entered."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from sqlmodel import Session, select

from fleet_server.db import open_engine, transaction
from fleet_server.devices.models import Site
from protocol.catalogue.vocabulary import TerminalClass
from tests.fleet_server.factories import ECHO, RESTART, capability
from tests.support.api_process import ApiProcess
from tests.support.waiting_rows import (
    MANY,
    assignment_row,
    enrolment_id,
    enrolment_row,
    inspection_row,
    permit_row,
    waiting_runs,
)


@dataclass(frozen=True, slots=True)
class Prepared:
    """Ids by the name that a path gives them; ``own`` for operations that use theirs up; ``bodies``: what their bodies
    name; ``by_hand``: ids that no generated request names.
    """

    shared: dict[str, list[str]]
    own: dict[str, list[str]]
    bodies: dict[str, dict[str, list[str]]]
    by_hand: dict[str, str]


def prepare(api: ApiProcess) -> Prepared:
    devices = {key: str(one["id"]) for key, one in api.installed["devices"].items()}
    engine = open_engine(f"sqlite:///{api.data / 'server' / 'fleet.db'}")
    with transaction(engine) as session:
        rows = _Rows(session, list(devices.values()), devices["esign1"])
    engine.dispose()
    return Prepared(rows.shared(), rows.own(), rows.bodies(), rows.by_hand())


class _Rows:
    """``device``: what all of them are about."""

    def __init__(self, session: Session, devices: list[str], device: str) -> None:
        self._devices, self._device = devices, device
        for one in devices:
            session.add(capability(one))
        self._runs = waiting_runs(session, device)
        self._permits = [permit_row(session, number) for number in range(MANY)]
        for state in ("open", "pending"):
            for number in range(MANY):
                enrolment_row(session, state, number)
        self._sites = list(session.exec(select(Site.id)))
        self._inspections = [inspection_row(session, number) for number in range(MANY)]
        self._assignments = [assignment_row(session, number, device) for number in range(MANY)]

    def shared(self) -> dict[str, list[str]]:
        return {
            "device_id": self._devices,
            "execution_id": self._runs["reads"][:3] + self._runs["waits"][:3],
            "permit_id": self._permits,
            "enrolment_id": _enrolments("pending")[:-1],
            "site_id": self._sites,
            "inspection_id": self._inspections[: MANY // 2],
            "assignment_id": self._assignments,
            "playbook": ["slow", "no_network"],
        }

    def own(self) -> dict[str, list[str]]:
        return {
            "POST /api/v1/inspections/{inspection_id}/end": self._inspections[MANY // 2 :],
            "GET /api/v1/approvals/{execution_id}": self._runs["waits"][3:10],
            "POST /api/v1/approvals/{execution_id}/refuse": self._runs["waits"][10:-2],
            "POST /api/v1/executions/{execution_id}/cancel": self._runs["reads"][3:-1],
            "POST /api/v1/enrolments/{enrolment_id}/refuse": _enrolments("pending")[: MANY // 2],
            "POST /api/v1/enrolments/{enrolment_id}/withdraw": _enrolments("open"),
            "POST /api/v1/enrolments/{enrolment_id}/approve": _enrolments("pending")[MANY // 2 : -1],
        }

    def bodies(self) -> dict[str, dict[str, list[str]]]:
        classes = [one.value for one in TerminalClass]
        lines = [f"serial_number,model,terminal_class\nPALLET{n},A920,e_sign\n" for n in range(MANY)]
        return {
            "POST /api/v1/enrolments/{enrolment_id}/approve": {"site": self._sites},
            "POST /api/v1/enrolments": {"site": self._sites, "terminal_class": classes},
            "POST /api/v1/enrolments/pallet": {"csv": lines},
            "POST /api/v1/executions": {"device": self._devices, "action": [ECHO.name, RESTART.name]},
            "POST /api/v1/visits": {"tenant": ["default"]},
            "POST /api/v1/assignments": {
                "assignee": ["technician"],
                "device": self._devices,
                "site": self._sites,
            },
            "PUT /api/v1/devices/{device_id}/site": {"site": self._sites},
        }

    def by_hand(self) -> dict[str, str]:
        return {
            "device": self._device,
            "site": self._sites[0],
            "approve": self._runs["waits"][-1],
            "refuse": self._runs["waits"][-2],
            "cancel": self._runs["reads"][-1],
            "enrolment": _enrolments("pending")[-1],
        }


def _enrolments(state: str) -> list[str]:
    return [enrolment_id(state, number) for number in range(MANY)]


def token(data: Path, role: str) -> str:
    command = [sys.executable, "-m", "fleet_server", "token", f"contract {role}", "--role", role, "--data", str(data)]
    made = subprocess.run(command, capture_output=True, text=True, check=True)
    found = re.search(r"tm_\S+", made.stdout)
    assert found is not None, made.stdout
    return found[0]


def configuration(rules: Path, ready: Prepared, tokens: dict[str, str], roles: dict[str, str]) -> str:
    """The file of rules, with ids to ask for half of the time, and who asks. ``roles``: by operation."""
    lines = [rules.read_text("utf-8")]
    said = json.dumps(f"Bearer {tokens['operator']}")
    head = f"headers = {{ Authorization = {said} }}\n"
    for name, ids in ready.shared.items():
        lines.append(f"[dictionaries.{name}]\nvalues = {json.dumps(ids)}\n")
        lines.append(f'[parameters."path.{name}"]\ndictionary = "{name}"\nprobability = 0.5\n')
    for number, (operation, role) in enumerate(sorted(roles.items())):
        bound = {f"body.{name}": values for name, values in ready.bodies.get(operation, {}).items()}
        if operation in ready.own:
            bound[f"path.{operation.split('{')[1].partition('}')[0]}"] = ready.own[operation]
        if role == "operator" and not bound:
            continue
        said = json.dumps(f"Bearer {tokens[role]}")
        lines.append(
            f"[[operations]]\ninclude-name = [{json.dumps(operation)}]\nheaders = {{ Authorization = {said} }}\n"
        )
        lines += [
            f'[operations.parameters."{at}"]\ndictionary = "own{number}{at}"\nprobability = 0.5\n' for at in bound
        ]
        lines += [f'[dictionaries."own{number}{place}"]\nvalues = {json.dumps(ids)}\n' for place, ids in bound.items()]
    return head + "\n".join(lines)
