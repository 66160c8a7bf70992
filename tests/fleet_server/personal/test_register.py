"""The register knows every column that can hold text."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import JSON, Column, LargeBinary, String
from sqlmodel import AutoString

from fleet_server.migrations.tables import metadata
from fleet_server.personal.register import FIELDS, NOT_PERSONAL, fields_of, tables
from fleet_server.personal.scanning import order
from fleet_server.settings import ServerSettings

_TEXT = (AutoString, String, JSON, LargeBinary)
_SAID = ("with", "as long", "30 days", "24 hours", "until")


def text_columns() -> Iterator[Column[object]]:
    for table in metadata().sorted_tables:
        yield from (column for column in table.columns if isinstance(column.type, _TEXT) and column.name != "tenant_id")


def test_every_column_of_text_is_in_one_of_the_two_lists_and_in_one_only() -> None:
    there = {f"{column.table.name}.{column.name}" for column in text_columns()}
    personal = [field.name for field in FIELDS]
    not_personal = [f"{table}.{column}" for table, columns in NOT_PERSONAL.items() for column in columns]
    listed = [*personal, *not_personal]
    assert len(listed) == len(set(listed))
    assert there - set(listed) == set(), "say in fleet_server/personal/register.py what these columns hold"
    assert set(listed) - there == set()


def test_columns_of_bytes_and_json_are_seen_by_this_test() -> None:
    seen = {f"{column.table.name}.{column.name}" for column in text_columns()}
    assert {"event.data", "dead_letter.payload", "site.phone", "approval.payload", "health_block.columns"} <= seen


def test_every_field_says_in_both_languages_what_it_is_why_and_how_long() -> None:
    settings = set(ServerSettings.__dataclass_fields__)
    for field in FIELDS:
        assert all((field.what_zh, field.what_en, field.why_zh, field.why_en)), field.name
        assert field.kept in settings or field.kept.startswith(_SAID), field.name


def test_an_erasure_goes_over_every_table_of_the_register() -> None:
    assert set(order()) | {"erasure"} == set(tables())
    assert len(order()) == len(set(order()))
    assert all(fields_of(name) for name in order())
