"""Whatever people write, what is wrong with it is one sentence."""

from __future__ import annotations

import msgspec
import pytest

from protocol.toml_text import TomlWrong, read_toml


class Asked(msgspec.Struct, forbid_unknown_fields=True):
    count: int = 0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("count", "expected TOML, came"),
        ("count = 'x'", "count: expected int, came str"),
        ("other = 1", "expected only known keys, came 'other'"),
        ("a = " + "[" * 5000, "brackets within brackets"),
    ],
    ids=["no TOML", "another type", "unknown key", "too deep"],
)
def test_what_is_wrong_is_said(text: str, said: str) -> None:
    with pytest.raises(TomlWrong, match=said):
        read_toml(text, Asked)
