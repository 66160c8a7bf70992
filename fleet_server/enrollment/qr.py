"""A code as a QR code: the server's address and behind "#" the code, which no browser sends to anybody."""

from __future__ import annotations

import io
from pathlib import Path

import segno

from fleet_server.enrollment.codes import Made
from fleet_server.enrollment.errors import PalletInvalid


def qr_text(made: Made, url: str) -> str:
    return f"{url}/enrol#{made.code}"


def as_svg(made: Made, url: str) -> str:
    """An element to be put into a page."""
    out = io.BytesIO()
    segno.make(qr_text(made, url), error="m").save(
        out, kind="svg", scale=4, xmldecl=False, svgns=True, nl=False, svgclass="qr", lineclass=None, light="#fff"
    )
    return out.getvalue().decode()


def for_terminal(made: Made, url: str) -> str:
    out = io.StringIO()
    segno.make(qr_text(made, url), error="m").terminal(out, compact=True)
    return out.getvalue()


def write_qr(path: Path, made: Made, url: str) -> None:
    """Raises ``PalletInvalid`` for a name that says no kind."""
    if path.suffix not in {".svg", ".png"}:
        raise PalletInvalid(f"expected a name that ends in .svg or .png, came {path.name!r}")
    try:
        segno.make(qr_text(made, url), error="m").save(str(path), scale=6)
    except OSError as error:
        raise PalletInvalid(f"{path} cannot be written: {error.strerror}") from error
