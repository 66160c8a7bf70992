"""Every page of the console, with what is worth looking at in it."""

from __future__ import annotations

from protocol.executions import ExecutionState
from tests.fleet_server.console.examples import device_id
from tests.fleet_server.console.history import run_id

TILL = f"/devices/{device_id('till_one')}"
PAGES = {
    "fleet": "/",
    "fleet-none": "/?q=nothing-like-this",
    "device": TILL,
    "device-calm": f"/devices/{device_id('fresh')}",
    "device-gateway": f"/devices/{device_id('gateway')}",
    "readings": f"{TILL}/readings",
    "health": f"{TILL}/health",
    "health-week": f"{TILL}/health?span=7d&m=net.rtt_ms&m=modem.rsrp_dbm",
    "health-none": f"/devices/{device_id('fresh')}/health",
    "action": f"{TILL}/actions/clock.sync",
    "action-params": f"{TILL}/actions/printer.print_test",
    "run-proved": f"/runs/{run_id(ExecutionState.SUCCEEDED)}",
    "run-failed": f"/runs/{run_id(ExecutionState.FAILED)}",
    "run-verifying": f"/runs/{run_id(ExecutionState.VERIFYING)}",
    "run-queued": f"/runs/{run_id(ExecutionState.QUEUED)}",
    "run-check": f"/runs/{run_id(ExecutionState.SUCCEEDED, 2)}",
    "distribution": "/distribution?metric=net.rtt_ms",
    "distribution-unasked": "/distribution",
    "distribution-none": "/distribution?metric=net.rtt_ms&site=s-nowhere",
    "fleet-of-model": "/?model=T-630&firmware=-&kind=terminal",
    "overrides": "/overrides",
    "assignments": "/assignments",
    "runs": "/runs",
    "inspections": "/inspections",
    "freezes": "/freezes",
    "freezes-occasion": "/freezes?occasion=national_day",
    "device-inspections": f"{TILL}/inspections",
    "device-playbooks": f"{TILL}/playbooks",
    "search": "/search?q=6021",
    "open-none": "/open?phone=13800000000",
    "audit": "/audit",
    "dead-letters": "/dead-letters",
    "demo": "/demo",
    "account": "/account",
    "signing": "/signing",
    "signing-asked": "/signing?actions=app.restart&devices=T0000001&hours=8&count=20",
    "people": "/people",
    "personal-data": "/personal-data",
    "site": "/sites/s-noodles-0000",
    "person": "/people/u-viewer",
    "set-up": "/set-up",
    "step-up": "/step-up",
    "second-factor": "/second-factor",
    "not-found": "/devices/d-no-such-device",
    "sign-in": "/sign-in",
}
