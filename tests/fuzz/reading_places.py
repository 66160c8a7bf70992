"""Where the sources make something of bytes or text from elsewhere, and which of these places a run enters."""

from __future__ import annotations

import ast
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[2]
# What is delivered and reads what others wrote; simulators read what whoever started them wrote.
PACKAGES: Final = ("protocol", "device_agent", "fleet_server")
# Names as they are called. Whoever reads by other means than these writes a loop over bytes, which a review sees.
READERS: Final = frozenset(
    {
        *("json.loads", "json.load", "msgspec.json.decode", "msgspec.convert", "codec.decode", "codec.from_json"),
        *("from_json", "open_envelope", "tomllib.loads", "tomllib.load", "csv.reader", "csv.DictReader"),
        *("zlib.decompress", "zlib.decompressobj", "gzip.GzipFile", "gzip.open", "gzip.decompress", "tarfile.open"),
        *("zipfile.ZipFile", "struct.unpack", "struct.unpack_from", "base64.b64decode", "base64.urlsafe_b64decode"),
        *("base64.b32decode", "x509.load_pem_x509_certificate", "x509.load_pem_x509_csr", "x509.load_pem_x509_crl"),
        *("x509.load_der_x509_certificate", "serialization.load_pem_private_key", "datetime.fromisoformat"),
        *("pickle.loads", "yaml.safe_load", "ElementTree.fromstring", "parse_qs", "parse_qsl", "request.form"),
    }
)


def reading_places() -> set[str]:
    """``path:function`` of each function that calls one of `READERS`."""
    return {
        place for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py")) for place in _in_file(path)
    }


def _in_file(path: Path) -> Iterator[str]:
    name = path.relative_to(ROOT).as_posix()
    yield from (f"{name}:{function}" for function in _in_node(ast.parse(path.read_text("utf-8")), "module"))


def _in_node(node: ast.AST, function: str) -> Iterator[str]:
    for inner in ast.iter_child_nodes(node):
        if isinstance(inner, ast.Call) and _called(inner.func) in READERS:
            yield function
        inside = inner.name if isinstance(inner, (ast.FunctionDef, ast.AsyncFunctionDef)) else function
        yield from _in_node(inner, inside)


def _called(function: ast.expr) -> str:
    if isinstance(function, ast.Attribute):
        before = _called(function.value)
        return f"{before}.{function.attr}" if before else function.attr
    return function.id if isinstance(function, ast.Name) else ""


def entered_by(work: Callable[[], None]) -> set[str]:
    """Functions of our packages that ``work`` enters in this thread, as `reading_places` names them."""
    codes: set[CodeType] = set()

    def note(frame: FrameType, event: str, _argument: Any) -> None:
        if event == "call":
            codes.add(frame.f_code)

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(before)
    named = ((Path(code.co_filename), code.co_name) for code in codes)
    return {f"{path.relative_to(ROOT).as_posix()}:{name}" for path, name in named if path.is_relative_to(ROOT)}


def _main() -> None:
    from tests.fuzz.catalogue import all_parsers

    found = all_parsers()

    def read_all_seeds() -> None:
        for parser in found.values():
            for data in parser.seeds:
                parser.parse(data[: parser.most_bytes])

    # The last line; parsers log what they think of their inputs.
    print(json.dumps(sorted(entered_by(read_all_seeds))))


if __name__ == "__main__":
    _main()
