"""Support and a merchant on the telephone: the digits are on the terminal alone until the merchant reads them out."""

from __future__ import annotations

import pytest

from tests.acceptance.demo_client import Demo

pytestmark = pytest.mark.acceptance


def asked(demo: Demo, key: str, action: str) -> str:
    body = {"device": demo.device(key), "action": action, "params": {}, "consent": True}
    answer = demo.call("POST", "/api/v1/executions", body)
    assert answer.status == 201, answer
    identifier: str = answer.body["id"]
    return identifier


def digits_on(demo: Demo, key: str) -> str:
    """As they are read out: two groups of three on a line of their own."""
    lines = [line.replace(" ", "") for line in demo.screen(key)]
    found = [line for line in lines if len(line) == 6 and line.isdecimal()]
    return found[-1] if found else ""


@pytest.mark.parametrize(("key", "action"), [("smart1", "app.sign_in"), ("prn1", "printer.print_test")])
def test_test_runs_once_the_merchant_has_read_the_digits_out(demo: Demo, key: str, action: str) -> None:
    before = digits_on(demo, key)
    execution = asked(demo, key, action)
    demo.until_state(execution, "AWAITING_CONSENT")
    demo.until(lambda: digits_on(demo, key), "the digits can be read", is_so=lambda seen: seen not in {"", before})
    digits = digits_on(demo, key)
    wrong = f"{(int(digits) + 1) % 1_000_000:06d}"
    path = f"/api/v1/executions/{execution}/consent"

    assert demo.call("POST", path, {"code": wrong}).status == 200
    demo.until(
        lambda: demo.execution(execution), "the wrong code is told", is_so=lambda seen: "tries left" in seen["detail"]
    )
    assert digits not in str(demo.execution(execution))

    assert demo.call("POST", path, {"code": digits}).status == 200
    assert demo.until_state(execution, "SUCCEEDED")["verdict"] == "pass"
