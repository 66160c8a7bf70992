"""HTTP shapes of enrolment."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from fleet_server.enrollment.codes import Made
from fleet_server.enrollment.models import Enrolment
from fleet_server.enrollment.pallet import MAX_LINES
from fleet_server.kit.free_text import FreeText
from fleet_server.kit.schemas import Answer, Asked, Moment

MAX_HOURS = 90 * 24
Printable = r"^[^\x00-\x1f\x7f]*$"
Hours = Annotated[int, Field(ge=1, le=MAX_HOURS, description="how long it may be used")]


class CodeAsked(Asked):
    serial_number: Annotated[str, Field(min_length=1, max_length=64, pattern=Printable)]
    model: Annotated[str, Field(min_length=1, max_length=80, pattern=Printable), FreeText]
    terminal_class: Literal["e_sign", "traditional", "smart", "kiosk"]
    site: Annotated[str, Field(max_length=64, description="its id; empty: said when the device is let in")] = ""
    label_zh: Annotated[str, Field(max_length=120, pattern=Printable), FreeText] = ""
    label_en: Annotated[str, Field(max_length=120, pattern=Printable), FreeText] = ""
    hours: Hours = 72
    needs_approval: bool = False


class PalletAsked(Asked):
    csv: Annotated[str, Field(max_length=400 * MAX_LINES, description="heading and a line a device")]
    hours: Hours = 14 * 24
    needs_approval: bool = False


class ApprovalAsked(Asked):
    site: Annotated[str | None, Field(max_length=64, description="id of the site it stands at")] = None


class EnrolmentRead(Answer):
    """``kind`` ``return``: a device that slept past its certificate's grace asks to come back."""

    id: str
    kind: Literal["new", "return"]
    state: Literal["open", "pending", "approved", "done", "refused", "withdrawn"]
    device: str
    serial_number: str
    model: str
    terminal_class: str
    site: str | None
    needs_approval: bool
    address: str
    created_by: str
    created_at: Moment
    expires_at: Moment
    asked_at: Moment | None
    decided_by: str
    decided_at: Moment | None


class CodeMade(Answer):
    """``code`` is shown here and never again."""

    code: str
    command: str
    enrolment: EnrolmentRead


class CodesMade(Answer):
    items: list[CodeMade]


def enrolment_read(row: Enrolment) -> EnrolmentRead:
    return EnrolmentRead.model_validate(
        {
            **{name: getattr(row, name) for name in EnrolmentRead.model_fields if name not in {"device", "site"}},
            "device": row.device_id,
            "site": row.site_id,
        }
    )


def code_made(made: Made, url: str) -> CodeMade:
    command = f"device-agent enroll --server {url} --code {made.code}"
    return CodeMade(code=str(made.code), command=command, enrolment=enrolment_read(made.row))
