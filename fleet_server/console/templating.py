"""Turns a template and its values into HTML. Every value is escaped; a missing one is an error, not a blank."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from fleet_server.console.assets import asset_url
from fleet_server.console.language import Language, translations
from fleet_server.console.words import Shape

TEMPLATES_DIR = Path(__file__).parent / "templates"


@cache
def environment(language: Language) -> Environment:
    made = Environment(
        loader=FileSystemLoader(TEMPLATES_DIR),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.i18n"],
    )
    made.install_gettext_translations(translations(language), newstyle=True)  # type: ignore[attr-defined]  # added by jinja2.ext.i18n
    made.globals["asset"] = asset_url
    made.globals["icon"] = icon
    made.globals["turning_icon"] = turning_icon
    made.globals["state"] = _StateWriter(language).write
    made.filters["number"] = number_text
    return made


def render(language: Language, template: str, **values: Any) -> str:
    return environment(language).get_template(template).render(**values)


def icon(name: str) -> Markup:
    """A glyph of the sprite; always beside a word, so readers skip it."""
    return _glyph(name, "i")


def turning_icon(name: str) -> Markup:
    """Only what is in motion turns."""
    return _glyph(name, "i turn" if name == "run" else "i")


def number_text(value: float) -> str:
    """At most four digits after the point, thousands apart, a real minus sign."""
    text = f"{value:,.4f}".rstrip("0").rstrip(".") if abs(value) < 1e15 else f"{value:.3g}"
    return text.replace("-", "\N{MINUS SIGN}")


def measured_text(value: float) -> str:
    """Two digits after the point, or the first three of what is smaller than 1: no instrument here tells more."""
    return number_text(round(value, 2) if abs(value) >= 1 else float(f"{value:.3g}"))


def range_text(low: float | None, high: float | None) -> str:
    """What is required of a value: at least, at most, between, or within so much of zero."""
    if low is not None and high is not None:
        if low == -high:
            return f"±{number_text(high)}"
        return f"{number_text(low)}{'–' if low >= 0 else ' … '}{number_text(high)}"
    if low is not None:
        return f"≥ {number_text(low)}"
    return "" if high is None else f"≤ {number_text(high)}"


def _glyph(name: str, classes: str) -> Markup:
    return Markup('<svg class="{}" aria-hidden="true"><use href="{}#{}"/></svg>').format(
        classes, asset_url("icons.svg"), name
    )


class _StateWriter:
    """`{{ state(shape) }}`: shape, word, colour, in this order of importance."""

    def __init__(self, language: Language) -> None:
        self._texts = translations(language)

    def write(self, shape: Shape, extra: str = "") -> Markup:
        words = self._texts.gettext(shape.words) + extra
        return Markup('<span class="st {}">{}{}</span>').format(shape.tone, turning_icon(shape.icon), words)
