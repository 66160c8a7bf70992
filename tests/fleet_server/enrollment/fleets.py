"""A fleet file to start from: one shop with a gateway, a printer on its line, and a terminal of its own."""

from __future__ import annotations

from typing import Any


def small_fleet() -> dict[str, Any]:
    site = {
        "key": "s1",
        "merchant_id": "898110000000001",
        "merchant_name": {"zh": "晨光便利店", "en": "Morning Light"},
        "site_name": {"zh": "东门店", "en": "East Gate"},
        "city": {"zh": "上海", "en": "Shanghai"},
        "phone": "02155550101",
        "timezone": "Asia/Shanghai",
        "trading_hours": [["06:00", "22:00"]],
    }
    return {
        "sites": [site],
        "devices": [
            _device("prn1", "attached", "PRN000001", attached_to="gw1", line="prn0"),
            _device("gw1", "gateway", "GW0000001"),
            _device("esign1", "terminal", "ES0000001", terminal_id="10000001", terminal_class="e_sign"),
        ],
    }


def _device(key: str, kind: str, serial: str, **more: str) -> dict[str, Any]:
    return {
        "key": key,
        "site": "s1",
        "kind": kind,
        "attached_to": None,
        "line": None,
        "serial_number": serial,
        "terminal_id": None,
        "model": "M-1",
        "terminal_class": "traditional",
        "label": {"zh": "一号", "en": "One"},
        "sim_phone": None,
        **more,
    }
