"""Each door that is open to all has a limit of its own, on real HTTP: it says 429 and when to come again, and whoever
comes from elsewhere, or is somebody else, is let in meanwhile.
"""

from __future__ import annotations

import http.client
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any, cast
from urllib.parse import urlencode

import msgspec
import pytest
from starlette.testclient import TestClient

from fleet_server.access import BURST
from fleet_server.auth import limits
from fleet_server.enrollment.door import GUESSES
from fleet_server.stream_places import MAX_STREAMS
from protocol.enrolment import SECRET_CHARS, RenewRequest
from tests.support.api_process import ApiProcess, running_api_process, running_beside
from tests.support.enrolling import Device
from tests.support.signing_requests import new_key, renewal_proof, request_of

pytestmark = pytest.mark.integration
HERE, ELSEWHERE = "127.0.0.1", "127.0.0.77"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiProcess]:
    """Without the limit on all that one address asks, which would come first."""
    folder = tmp_path_factory.mktemp("api")
    with (
        running_api_process(folder, https=False, http_requests_per_s_per_address=0) as running,
        # Who else would say that a proof is wrong.
        running_beside(folder, "issuer", "--data", str(running.data)),
    ):
        yield running


def connected(api: ApiProcess, source: str) -> http.client.HTTPConnection:
    return http.client.HTTPConnection("127.0.0.1", api.port, timeout=120, source_address=(source, 0))


def asked(
    api: ApiProcess, method: str, path: str, body: Any = None, source: str = HERE, **headers: str
) -> tuple[int, dict[str, str], str]:
    link = connected(api, source)
    try:
        link.request(method, path, body, headers)
        answer = link.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read().decode()
    finally:
        link.close()


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def another_token(api: ApiProcess) -> str:
    command = [sys.executable, "-m", "fleet_server", "token", "another", "--role", "viewer", "--data", str(api.data)]
    found = re.search(r"tm_\S+", subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert found is not None
    return found[0]


def test_signing_in_is_limited_by_address(api: ApiProcess) -> None:
    def sign_in(number: int, source: str) -> int:
        form = urlencode({"name": f"nobody{number}", "password": "wrong"})
        return asked(api, "POST", "/sign-in", form, source, **FORM)[0]

    statuses = [sign_in(number, HERE) for number in range(limits.BURST)]
    assert statuses == [401] * limits.BURST
    # While they were tried, one or another place came free.
    assert 429 in (sign_in(number, HERE) for number in range(5 * limits.BURST))
    assert sign_in(0, ELSEWHERE) == 401


@pytest.mark.parametrize("door", ["requests", "renewals"])
def test_enrolling_and_renewing_are_limited_by_wrong_tries(api: ApiProcess, door: str) -> None:
    source = {"requests": "127.0.0.11", "renewals": "127.0.0.12"}[door]
    key, stranger = new_key(), new_key()
    if door == "requests":
        asked_for = Device(cast("TestClient", None), key=key).request("0" * SECRET_CHARS)
    else:
        link, csr = str(api.installed["devices"]["gw1"]["id"]), request_of(stranger)
        asked_for = msgspec.to_builtins(RenewRequest(link, csr, renewal_proof(stranger, link, csr)))
    body = json.dumps(asked_for)

    def guess(source: str) -> tuple[int, dict[str, str], str]:
        return asked(api, "POST", f"/enrol/v1/{door}", body, source, **JSON)

    first = guess(source)
    for _ in range(600):
        if first[0] != 503:
            break
        # The issuer is still starting.
        first = guess(source)
    assert first[0] in {403, 404, 422}, first
    answers = [guess(source) for _ in range(GUESSES + 1)]
    status, headers, _ = answers[-1]
    assert status == 429, answers
    assert int(headers["retry-after"]) > 0
    assert guess(ELSEWHERE)[0] == first[0]


def test_a_token_is_limited_and_another_is_not(api: ApiProcess) -> None:
    other = another_token(api)
    link, refused = connected(api, HERE), None
    for _ in range(BURST * 20):
        link.request("GET", "/api/v1/signing", headers=bearer(api.token))
        answer = link.getresponse()
        answer.read()
        if answer.status == 429:
            refused = answer
            break
    link.close()
    if refused is None:
        pytest.skip("this machine does not ask as fast as the limit allows")
    assert int(refused.headers["Retry-After"]) > 0
    assert asked(api, "GET", "/api/v1/devices", source=HERE, **bearer(other))[0] == 200


def test_a_caller_holds_so_many_event_streams_and_others_find_room(api: ApiProcess) -> None:
    other = another_token(api)
    with ExitStack() as held:

        def opened(token: str, source: str) -> http.client.HTTPResponse:
            link = connected(api, source)
            held.callback(link.close)
            link.request("GET", "/api/v1/events", headers=bearer(token))
            return link.getresponse()

        # From several addresses, each of which may hold so many connections.
        streams = [opened(api.token, f"127.0.1.{number % 8 + 1}") for number in range(MAX_STREAMS)]
        assert {one.status for one in streams} == {200}
        refused = opened(api.token, "127.0.2.1")
        assert (refused.status, json.loads(refused.read())["code"]) == (429, "too_many_own_streams")
        assert int(refused.headers["Retry-After"]) > 0
        assert opened(other, "127.0.2.1").status == 200
    # Closed, they are places again.
    for _ in range(600):
        with ExitStack() as held:
            if opened(api.token, "127.0.2.2").status == 200:
                return
    raise AssertionError("no place came free after all streams were closed")
