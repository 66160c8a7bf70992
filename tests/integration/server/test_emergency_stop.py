"""The emergency stop through the whole product: API, signer, scheduler, ingest, broker, agents, and new starts."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
from contextlib import suppress
from functools import partial
from typing import Any

import psutil
import pytest

from tests.integration.server.test_enrolment import SERVER, Site, link_of, site, wait_for
from tests.integration.server.test_key_rotation import Keys, ask, is_checked, keys, running

pytestmark = pytest.mark.integration
__all__ = ["keys", "site"]


def test_a_stop_reaches_all_and_outlives_the_start_of_every_process(site: Site, keys: Keys) -> None:
    awake, away = site.enrol("ES0000301"), site.enrol("ES0000302")
    with running(away):
        assert is_checked(site, link_of(away))
    with running(awake) as agent:
        assert is_checked(site, link_of(awake))
        waiting = [ask(site, link_of(away), "test.quick"), ask(site, link_of(awake), "test.mend", folder=str(awake))]
        assert [shown(site, one)["state"] for one in waiting] == ["QUEUED", "AWAITING_APPROVAL"]
        began_s = time.monotonic()
        assert site.ask("POST", "/api/v1/signing/stop", {"reason": "a drill"})["stopped"]
        for one in waiting:
            assert (shown(site, one)["state"], shown(site, one)["code"]) == ("CANCELLED", "signing_stopped")
        heard_s = wait_for(lambda: agent.runner.core.trust.stop.is_stopped, "the terminal knows") + 0.0
        sys.stdout.write(f"cancelled and heard {time.monotonic() - began_s:.1f} s after the stop\n")
        assert heard_s < 60
        assert refused(site, link_of(awake)) == 409
        start_all_anew(site)
        assert refused(site, link_of(awake)) == 409
        assert site.ask("GET", "/api/v1/signing")["stopped"]
    # Also the agent, and one that was not there.
    for bundle in (awake, away):
        with running(bundle) as agent:
            wait_for(partial(is_stopped, agent), "it is told as it greets")
    with running(awake) as agent:
        lift(site, keys)
        wait_for(lambda: not agent.runner.core.trust.stop.is_stopped, "the lift is heard")
        assert is_checked(site, link_of(awake))


def is_stopped(agent: Any) -> bool:
    return bool(agent.runner.core.trust.stop.is_stopped)


def shown(site: Site, execution: str) -> Any:
    return site.ask("GET", f"/api/v1/executions/{execution}")


def refused(site: Site, link: str) -> int:
    """The status of asking for a check."""
    with pytest.raises(urllib.error.HTTPError) as raised:
        ask(site, link, "test.quick")
    with raised.value as answer:
        return answer.code


def start_all_anew(site: Site) -> None:
    """As after a power cut: every process of the server is killed, and started again by their owner."""
    children = [one for one in psutil.process_iter(["cmdline"]) if str(site.data) in (one.info["cmdline"] or [])]
    killed = [one for one in children if "run" not in one.info["cmdline"]]
    assert killed
    for one in killed:
        with suppress(ProcessLookupError):
            os.kill(one.pid, signal.SIGKILL)
    wait_for(lambda: not any(one.is_running() and one.status() != "zombie" for one in killed), "they are gone")
    wait_for(lambda: _answers(site), "they are up again")


def _answers(site: Site) -> bool:
    with suppress(OSError):
        return bool(site.ask("GET", "/api/v1/signing"))
    return False


def lift(site: Site, keys: Keys) -> None:
    token = keys.run("token", "of mei, to lift", "--role", "approver", "--json", "--data", str(site.data))
    words = ["signing", "lift", "--url", site.installed["url"], "--token", token_in(token)]
    files = ["--key", str(keys.folder / "mei.pem"), "--passphrase-file", str(keys.folder / "words")]
    subprocess.run([*SERVER, *words, *files], check=True, capture_output=True)


def token_in(text: str) -> str:
    return str(json.loads(text)["token"])
