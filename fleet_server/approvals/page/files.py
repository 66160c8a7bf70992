"""The page's own files, and the policy under which a browser runs them.

The scripts' hashes stand here, in the program, and not beside the scripts: a file that was changed later is refused at
the start, and one that is changed on its way is refused by the browser.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final

from fleet_server.errors import FleetError

STATIC: Final = Path(__file__).parent / "static"
# SHA-256 in hexadecimal, as `sha256sum` says it.
SCRIPTS: Final = {
    "words.js": "02ef3a69d953978e9f312e299870714be63f7bf2d9ae3dee19c67f0fe5b84a15",
    "approve.js": "31bf6ef4ae977b529bcabf7a6887e544ff61798a1ee801eed2fd74c44ab91f41",
}
_KINDS = {".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".css": "text/css"}


class PageFileChanged(FleetError):
    code: ClassVar[str] = "page_file_changed"


@dataclass(frozen=True, slots=True)
class PageFile:
    content: bytes
    media_type: str


def load_files() -> dict[str, PageFile]:
    """By path. Raises ``PageFileChanged`` for a script that is not the one this program was made with."""
    files: dict[str, PageFile] = {}
    for path in sorted(STATIC.iterdir()):
        content = path.read_bytes()
        found = hashlib.sha256(content).hexdigest()
        wanted = SCRIPTS.get(path.name)
        if path.suffix == ".js" and found != wanted:
            raise PageFileChanged(f"{path}: expected SHA-256 {wanted}, came {found}: install the program anew")
        if path.suffix == ".html":
            content = _with_hashes(content)
        files["/" if path.suffix == ".html" else f"/{path.name}"] = PageFile(content, _KINDS[path.suffix])
    return files


def content_security_policy() -> str:
    scripts = " ".join(f"'{_integrity(digest)}'" for digest in SCRIPTS.values())
    return (
        f"default-src 'none'; script-src {scripts}; style-src 'self'; connect-src 'self'; img-src data:; "
        "require-trusted-types-for 'script'; trusted-types 'none'; "
        "form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
    )


def _with_hashes(page: bytes) -> bytes:
    """A browser matches a script that has an address with the policy's hashes by this attribute."""
    for name, digest in SCRIPTS.items():
        page = page.replace(f'integrity="{name}"'.encode(), f'integrity="{_integrity(digest)}"'.encode())
    return page


def _integrity(digest: str) -> str:
    return "sha256-" + base64.b64encode(bytes.fromhex(digest)).decode()
