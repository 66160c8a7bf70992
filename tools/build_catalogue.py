"""Makes the catalogue's JSON from its YAML sources: `python tools/build_catalogue.py [--check]`.

`--check` writes nothing and exits 1 when a file is not what the sources give. Everything that the sources leave open is
decided in their own files (owner, severity, sentences, translations); a text without a translation stops the build.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import defaultdict
from functools import cache
from pathlib import Path
from typing import Any

import yaml

CATALOGUE = Path(__file__).resolve().parent.parent / "protocol" / "catalogue"
SOURCES = CATALOGUE / "sources"
DATA = CATALOGUE / "data"

_OWNERS = {
    "none": "none",
    "issuer_or_cardholder": "cardholder",
    "issuer_or_switch": "acquirer",
    "acquirer": "acquirer",
    "merchant": "merchant",
    "network": "network",
    "terminal": "device",
    "terminal_application": "device",
    "terminal_keys": "device",
    "device": "device",
}
_BY_CAUSE = "by cause"
_MAX_CAUSES_IN_ADVICE = 3  # more do not fit in a sentence

Json = dict[str, Any]


class SourceIncomplete(Exception):
    """A source names something that another one lacks."""

    code = "source_incomplete"


def main() -> int:
    parser = argparse.ArgumentParser(description="Generate the catalogue's JSON from its YAML sources.")
    parser.add_argument("--check", action="store_true", help="write nothing, exit 1 on drift")
    is_check = parser.parse_args().check
    drifted = [name for name, text in build().items() if not _is_current(name, text)]
    surplus = sorted(path.name for path in DATA.glob("*.json") if path.stem not in build())
    if is_check:
        for name in [*drifted, *surplus]:
            print(f"not what the sources give: protocol/catalogue/data/{name}", file=sys.stderr)
        return 1 if drifted or surplus else 0
    DATA.mkdir(exist_ok=True)
    for name, text in build().items():
        (DATA / f"{name}.json").write_text(text, encoding="utf-8")
    for name in surplus:
        (DATA / name).unlink()
    return 0


@cache
def build() -> dict[str, str]:
    """File stem -> text of every generated file."""
    files: Json = {f"codes_{prefix}": rows for prefix, rows in _codes_by_prefix().items()}
    files["metrics"] = [_metric(row) for row in _read("metrics")["metrics"]]
    files["faults"] = _faults()
    files["acquirer_profiles"] = _read("acquirer_profiles")["profiles"]
    return {name: _compact(content) for name, content in files.items()}


def _is_current(name: str, text: str) -> bool:
    path = DATA / f"{name}.json"
    return path.is_file() and path.read_text(encoding="utf-8") == text


def _compact(content: list[Json] | Json) -> str:
    """One row a line, so that a change shows as one line."""
    if isinstance(content, list):
        rows = [json.dumps(row, ensure_ascii=False, separators=(",", ":")) for row in content]
        return "[\n" + ",\n".join(rows) + "\n]\n"
    return json.dumps(content, ensure_ascii=False, separators=(",", ":")) + "\n"


@cache
def _read(name: str) -> Json:
    content: Json = yaml.safe_load((SOURCES / f"{name}.yaml").read_text(encoding="utf-8"))
    return content


def _codes_by_prefix() -> dict[str, list[Json]]:
    rows = [*_read("error_codes")["codes"], *({"family": "agent", **row} for row in _read("own_codes")["codes"])]
    known = {row["id"] for row in rows}
    _refuse_unknown_ids(known)
    by_prefix: dict[str, list[Json]] = defaultdict(list)
    for row in rows:
        by_prefix[row["id"].partition(".")[0]].append(_code(row))
    return dict(by_prefix)


def _refuse_unknown_ids(known: set[str]) -> None:
    refinements = _read("refinements")
    named = {
        code
        for table in ("owner", "severity", "visible_after_s")
        for ids in refinements[table].values()
        for code in ids
    }
    named |= set(refinements["hides"]) | {code for ids in refinements["hides"].values() for code in ids}
    named |= set(_read("say")["ids"])
    if strangers := sorted(named - known):
        raise SourceIncomplete(f"expected ids of error_codes.yaml or own_codes.yaml, got {strangers}")


def _code(row: Json) -> Json:
    code_id = row["id"]
    owner = _refined("owner", code_id) or _OWNERS[row["owner"]]
    fix = _advice(row)
    say = _sentence(row, owner)
    built = {
        "id": code_id,
        "family": row["family"],
        "code": row["code"],
        "title_zh": row["zh"],
        "title_en": row["en"],
        "owner": owner,
        "severity": _refined("severity", code_id) or row.get("severity") or _default_severity(row, owner),
        "fix_zh": fix["zh"],
        "fix_en": fix["en"],
        "say_zh": say["zh"],
        "say_en": say["en"],
        "is_device_fault_likely": row["device_fault_likely"],
    }
    optional = {
        "is_retryable": row.get("retryable"),
        "causes": row["causes"],
        "checks": row["checks"],
        "part": row.get("part"),
        "part_zh": _part_zh(row["part"]) if row.get("part") else None,
        "hides": _read("refinements")["hides"].get(code_id),
        "visible_after_s": _refined("visible_after_s", code_id),
    }
    return built | {name: value for name, value in optional.items() if value not in (None, [])}


def _refined(table: str, code_id: str) -> Any:
    return next((value for value, ids in _read("refinements")[table].items() if code_id in ids), None)


def _default_severity(row: Json, owner: str) -> str:
    """As the note of error_codes.yaml says."""
    if owner in {"none", "cardholder"}:
        return "info"
    return "major" if row["device_fault_likely"] else "minor"


def _advice(row: Json) -> dict[str, str]:
    if "fix_zh" in row:
        return {"zh": row["fix_zh"], "en": row["fix"]}
    if row["fix"] == _BY_CAUSE and row["causes"]:
        return _advice_by_cause(row["causes"][:_MAX_CAUSES_IN_ADVICE])
    translation = _read("advice_zh").get(row["fix"])
    if translation is None:
        raise SourceIncomplete(f"expected a Chinese text in advice_zh.yaml for {row['fix']!r} ({row['id']})")
    return {"zh": translation, "en": row["fix"]}


def _advice_by_cause(causes: list[str]) -> dict[str, str]:
    model = {cause["id"]: cause for cause in _read("fault_model")["causes"]}
    texts = _read("cause_texts")
    if len(causes) == 1:
        return {"zh": texts[causes[0]]["fix_zh"], "en": model[causes[0]]["fix"]["action"]}
    return {
        "zh": "按原因处理：" + "；".join(f"{model[cause]['name_zh']}——{texts[cause]['fix_zh']}" for cause in causes),
        "en": "by cause: "
        + "; ".join(f"{model[cause]['name_en']} - {model[cause]['fix']['action']}" for cause in causes),
    }


def _sentence(row: Json, owner: str) -> dict[str, str]:
    say = _read("say")
    if "say_zh" in row:
        return {"zh": row["say_zh"], "en": row["say_en"]}
    chosen: Json | None = say["ids"].get(row["id"]) or say["advice"].get(row["fix"])
    if chosen is None and row["causes"] and owner not in {"none", "cardholder"}:
        cause = _read("cause_texts")[row["causes"][0]]
        return {"zh": cause["say_zh"], "en": cause["say_en"]}
    chosen = chosen or say["owners"][owner]
    if set(chosen) != {"zh", "en"}:
        raise SourceIncomplete(f"expected zh and en, got {sorted(chosen)} for {row['id']}")
    return chosen


def _metric(row: Json) -> Json:
    words = _read("metric_words")
    name = row["name"]
    built = {
        "name": name,
        "title_zh": row["name_zh"],
        "title_en": _read("metric_names_en")[name],
        "unit": row["unit"],
        "unit_words": words["metric_units"].get(name) or words["units"][row["unit"]],
        "type": row["type"],
        "range": row["range"],
        "normal_text": row["normal"],
        "applies_to": row["applies_to"],
        "source": row["source"],
    }
    optional = {
        "note": row.get("note"),
        "value_words": words["bool"] if row["unit"] == "bool" else words["states"].get(name),
        "unknown_values": words["unknown_values"].get(name),
    }
    return built | {key: value for key, value in optional.items() if value is not None}


def _faults() -> Json:
    model = _read("fault_model")
    return {
        "causes": {row["id"]: _cause(row) for row in model["causes"]},
        "symptoms": {row["id"]: _titled(row) for row in model["symptoms"]},
        "checks": {row["id"]: _titled(row) for row in model["checks"]},
        "not_applicable": model["not_applicable"],
    }


def _cause(row: Json) -> Json:
    texts = _read("cause_texts")[row["id"]]
    fix = row["fix"]
    return {
        **_titled(row),
        "title_en": row["name_en"],
        "fix": {
            "action_zh": texts["fix_zh"],
            "action_en": fix["action"],
            "where": fix["where"],
            "parts": fix["parts"],
            "parts_zh": [_part_zh(part) for part in fix["parts"]],
            "success_p": fix["success_p"],
        },
        "say_zh": texts["say_zh"],
        "say_en": texts["say_en"],
    }


def _part_zh(part: str) -> str:
    translation: str | None = _read("parts_zh").get(part)
    if translation is None:
        raise SourceIncomplete(f"expected a Chinese name in parts_zh.yaml for {part!r}")
    return translation


def _titled(row: Json) -> Json:
    return {"title_zh": row["name_zh"]} | {
        key: value for key, value in row.items() if key not in {"name_zh", "name_en"}
    }


if __name__ == "__main__":
    sys.exit(main())
