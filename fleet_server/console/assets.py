"""Static files, held in memory: style sheets stripped, each named by its content so that it may be kept for ever.

The page library comes from npm at set-up (`tools/vendor_assets.py`). Without it every page still works by plain links
and forms.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

STATIC_DIR = Path(__file__).parent / "static"
_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


@dataclass(frozen=True, slots=True)
class Asset:
    content: bytes
    content_type: str
    digest: str


@cache
def load_assets() -> dict[str, Asset]:
    """Every served file by its path under `static/`; other files are not served at all."""
    found: dict[str, Asset] = {}
    for path in sorted(STATIC_DIR.rglob("*")):
        if path.suffix in _TYPES and path.is_file():
            content = path.read_bytes()
            if path.suffix == ".css":
                content = strip_css(content.decode()).encode()
            digest = hashlib.sha256(content).hexdigest()[:12]
            found[path.relative_to(STATIC_DIR).as_posix()] = Asset(content, _TYPES[path.suffix], digest)
    return found


def asset_url(name: str) -> str:
    """Empty when the file is not installed."""
    asset = load_assets().get(name)
    return f"/static/{name}?v={asset.digest}" if asset else ""


def strip_css(text: str) -> str:
    """Without comments and spare white space: the first page has a budget of 100 kB."""
    text = re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)
    text = re.sub(r"\s+", " ", text)
    text = re.sub(r"\s*([{};,>])\s*", r"\1", text)
    return re.sub(r";}", "}", text).strip()
