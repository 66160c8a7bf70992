"""The calls of the terminal service, answered from the simulated terminal's memory.

Each call that reads leaves the memory as it is. Each call that changes does what a terminal does, and ends those faults
that such a call can end; while a payment runs it is refused. Which calls exist is the table at the end.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from simulators import terminal_faults, terminal_software
from simulators.fault_plan import APP_DEAD, QUEUE_STUCK, REGISTRATION_LOST
from simulators.terminal_models import DEFAULT_CONFIG
from simulators.terminal_readings import free_mb, is_online_by_radio, memory_available_pct
from simulators.terminal_state import QueuedKind

if TYPE_CHECKING:
    from simulators.terminal import SimulatedTerminal

Args = Mapping[str, Any]
MAX_PRINTED_LINES = 200
MAX_SHOWN_LINES = 10
CLOCK_RIGHT_WITHIN_S = 30.0
# What a terminal's clock can be set to: until the year 2100, in Unix milliseconds.
MAX_WALL_MS = 4_102_444_800_000
MAX_VALUE_CHARS = 128
# Field 39: approved.
APPROVED = "00"


class CallRefused(Exception):
    """The terminal does not do this: with the code that goes into the answer."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code


def answer(terminal: SimulatedTerminal, call: str, args: Args) -> object:
    found = _CALLS.get(call)
    if found is None:
        raise CallRefused("unknown_call", f"expected one of {len(_CALLS)} calls, came {call!r}")
    if call in CHANGING and is_paying(terminal):
        raise CallRefused("transaction_running", f"{call}: a payment is running")
    return found(terminal, args)


def is_paying(terminal: SimulatedTerminal) -> bool:
    return terminal.now().mono_s < terminal.memory.trade.busy_until_s


def _describe(terminal: SimulatedTerminal, _: Args) -> object:
    return {
        "model": terminal.model.model,
        "firmware": terminal.model.firmware,
        "terminal_class": terminal.model.terminal_class.value,
        "serial_number": terminal.serial_number,
        "boot": terminal.memory.boot,
    }


def _readings(terminal: SimulatedTerminal, _: Args) -> object:
    return terminal.readings()


def _signs(terminal: SimulatedTerminal, _: Args) -> object:
    return [{"code": code, "evidence": ""} for code in sorted(terminal.shown_codes())]


def _safety(terminal: SimulatedTerminal, _: Args) -> object:
    trade = terminal.memory.trade
    return {
        "transaction_running": is_paying(terminal),
        "batch_open": trade.batch_count > 0,
        "payments_unsent": any(item.kind is QueuedKind.OFFLINE_PAYMENT for item in trade.queue),
        "reversals_pending": any(item.kind is QueuedKind.REVERSAL for item in trade.queue),
        "can_trade": terminal.can_trade(),
    }


def _app_status(terminal: SimulatedTerminal, _: Args) -> object:
    app = terminal.memory.app
    # By the terminal's own clock, which may have been set to before the start: no clock here goes below 1970.
    since_ms = max(int(terminal.wall_at(app.started_s) * 1000), 0)
    return {"alive": terminal.is_app_alive(), "since_ms": since_ms, "version": app.version}


def _app_restart(terminal: SimulatedTerminal, _: Args) -> object:
    app = terminal.memory.app
    app.restarts += 1
    app.is_dead = False
    app.leaked_mb = 0.0
    app.started_s = terminal.now().mono_s + terminal.app_start_s
    terminal.log.started(terminal.wall_clock(), app.version)
    terminal.mended(APP_DEAD)
    return {}


def _queue_status(terminal: SimulatedTerminal, _: Args) -> object:
    queue = terminal.memory.trade.queue
    now_s = terminal.now().mono_s
    return {
        "pending": len(queue),
        "oldest_age_s": max((now_s - item.queued_s for item in queue), default=0.0),
        "sending": bool(queue) and QUEUE_STUCK not in terminal.memory.faults,
    }


def _queue_send(terminal: SimulatedTerminal, _: Args) -> object:
    if terminal.host_code() is not None:
        raise CallRefused("host_unreachable", f"the acquirer does not answer: {terminal.host_code()}")
    terminal_faults.send_queue(terminal.situation())
    terminal.mended(QUEUE_STUCK)
    return {}


def _logs_status(terminal: SimulatedTerminal, _: Args) -> object:
    disk = terminal.memory.disk
    mib = 1024 * 1024
    return {"bytes": int(disk.log_mb * mib), "limit_bytes": int(disk.log_limit_mb * mib), "files": disk.log_files}


def _logs_purge(terminal: SimulatedTerminal, _: Args) -> object:
    terminal_faults.empty_logs(terminal.situation())
    terminal.log.rotate()
    terminal.mended("storage_log_growth")
    return {}


def _clock_get(terminal: SimulatedTerminal, _: Args) -> object:
    return {"wall_ms": int((terminal.now().true_wall_s + terminal.memory.clock_offset_s) * 1000)}


def _clock_set(terminal: SimulatedTerminal, args: Args) -> object:
    wall_ms = args.get("wall_ms")
    if not isinstance(wall_ms, int) or isinstance(wall_ms, bool) or not 0 <= wall_ms <= MAX_WALL_MS:
        raise CallRefused("bad_argument", f"wall_ms: expected 0 to {MAX_WALL_MS}")
    terminal.memory.clock_offset_s = round(wall_ms / 1000 - terminal.now().true_wall_s, 3)
    if abs(terminal.memory.clock_offset_s) < CLOCK_RIGHT_WITHIN_S:
        terminal.mended("clock_drift")
    return {}


def _modem_reregister(terminal: SimulatedTerminal, _: Args) -> object:
    terminal.memory.radio.searches += 1
    terminal.memory.radio.is_registered = True
    terminal.mended(REGISTRATION_LOST)
    return {}


def _config_get(terminal: SimulatedTerminal, _: Args) -> object:
    return dict(terminal.memory.config)


def _config_set(terminal: SimulatedTerminal, args: Args) -> object:
    name, value = args.get("name"), args.get("value")
    if not isinstance(name, str) or name not in DEFAULT_CONFIG:
        raise CallRefused("unknown_value", f"expected one of {', '.join(DEFAULT_CONFIG)}, came {str(name)[:40]!r}")
    if not isinstance(value, str) or len(value) > MAX_VALUE_CHARS:
        raise CallRefused("bad_argument", f"value: expected a text of at most {MAX_VALUE_CHARS} characters")
    terminal.memory.config[name] = value
    if name == "apn" and value == DEFAULT_CONFIG["apn"]:
        terminal.mended("apn_wrong")
    if name == "dns_server" and value != terminal_faults.DEAD_DNS_SERVER:
        terminal.mended("dns_broken")
    return {}


def _reboot(terminal: SimulatedTerminal, _: Args) -> object:
    terminal.begin_reboot("reboot_cmd")
    return {}


def _print_test(terminal: SimulatedTerminal, args: Args) -> object:
    if not terminal.model.has_printer:
        raise CallRefused("no_printer", "this terminal has no printer")
    status = str(terminal.readings()["prn.status"])
    if status not in {"ok", "busy", "paper_near"}:
        return {"printed": False, "status": status}
    wanted = args.get("lines", [])
    if not isinstance(wanted, list):
        raise CallRefused("bad_argument", "lines: expected a list of texts")
    lines = [str(line)[:200] for line in wanted[:MAX_PRINTED_LINES]]
    terminal.memory.printed = (terminal.memory.printed + lines)[-MAX_PRINTED_LINES:]
    return {"printed": True, "status": status}


def _show_text(terminal: SimulatedTerminal, args: Args) -> object:
    wanted = args.get("lines", [])
    if not isinstance(wanted, list) or len(wanted) > MAX_SHOWN_LINES:
        raise CallRefused("bad_argument", f"lines: expected a list of at most {MAX_SHOWN_LINES} texts")
    terminal.memory.shown = [str(line)[:200] for line in wanted]
    return {}


def _network_scan(terminal: SimulatedTerminal, _: Args) -> object:
    terminal.memory.radio.scans += 1
    if terminal.memory.radio.sim_state != "ready":
        return {"operators": []}
    names = (("46000", "CHINA MOBILE"), ("46001", "CHN-UNICOM"), ("46011", "CHN-CT"))
    return {"operators": [{"plmn": plmn, "name": name, "is_usable": plmn == "46000"} for plmn, name in names]}


def _sign_in(terminal: SimulatedTerminal, _: Args) -> object:
    if terminal.host_code() is not None:
        return {"approved": False, "response_code": ""}
    refusal = next(iter(terminal.response_codes(except_for="sign_in_expired")), None)
    if refusal is not None:
        return {"approved": False, "response_code": refusal}
    terminal_faults.sign_in(terminal.situation())
    terminal.mended("sign_in_expired")
    return {"approved": True, "response_code": APPROVED}


def _settle(terminal: SimulatedTerminal, _: Args) -> object:
    """What waits goes first: an acquirer's totals hold everything that was paid in the batch."""
    if terminal.host_code() is not None:
        return {"settled": False, "response_code": ""}
    if QUEUE_STUCK in terminal.memory.faults:
        raise CallRefused("queue_not_sent", "what waits to be sent does not go, so the batch cannot be settled")
    refusal = next(iter(terminal.response_codes(except_for="batch_full")), None)
    if refusal is not None:
        return {"settled": False, "response_code": refusal}
    terminal_faults.send_queue(terminal.situation())
    terminal_faults.settle(terminal.situation())
    terminal.mended("batch_full")
    return {"settled": True, "response_code": APPROVED}


def _storage(terminal: SimulatedTerminal, _: Args) -> object:
    free = free_mb(terminal.memory)
    return {"free_pct": round(100 * free / terminal.memory.disk.total_mb, 1), "free_mb": round(free, 1)}


def _memory(terminal: SimulatedTerminal, _: Args) -> object:
    readings = terminal.readings()
    available = memory_available_pct(terminal.memory, terminal.model, terminal.now())
    return {"avail_pct": available, "app_rss_mb": readings.get("sys.app_rss_mb")}


def _certificate(terminal: SimulatedTerminal, _: Args) -> object:
    return {"not_after_ms": int(terminal.memory.certificate_not_after_s * 1000)}


def _log_tail(terminal: SimulatedTerminal, args: Args) -> object:
    wanted = args.get("lines", 20)
    if not isinstance(wanted, int) or not 1 <= wanted <= 200:
        raise CallRefused("bad_argument", "lines: expected 1 to 200")
    return {"lines": terminal.log.tail(wanted)}


def _net_probe(terminal: SimulatedTerminal, _: Args) -> object:
    readings = terminal.readings()
    stage = {"ok": True, "ms": readings.get("net.rtt_ms", 0), "detail": ""}
    if not readings.get("net.dns_ok", 1) or not is_online_by_radio(terminal.memory):
        return {"dns": {"ok": False, "ms": 5000, "detail": "no answer from the resolver"}}
    dns = {"ok": True, "ms": readings.get("net.dns_ms", 0), "detail": ""}
    code = terminal.host_code()
    if code in {"term.HOST_TIMEOUT", "term.HOST_REFUSED"}:
        detail = "connection refused" if code == "term.HOST_REFUSED" else "no answer"
        return {"dns": dns, "tcp": {"ok": False, "ms": 10_000, "detail": detail}}
    if code is not None:
        return {"dns": dns, "tcp": stage, "tls": {"ok": False, "ms": 120, "detail": "certificate verify failed"}}
    return {"dns": dns, "tcp": stage, "tls": stage}


def _software(do: Callable[[SimulatedTerminal, Args], object]) -> Callable[[SimulatedTerminal, Args], object]:
    def answered(terminal: SimulatedTerminal, args: Args) -> object:
        try:
            return do(terminal, args) or {}
        except terminal_software.SlotRefused as error:
            raise CallRefused(error.code, str(error)) from error

    return answered


def _software_write(terminal: SimulatedTerminal, args: Args) -> object:
    try:
        data = base64.b64decode(str(args.get("data", "")), validate=True)
    except ValueError as error:
        raise CallRefused("bad_argument", "data: expected base64") from error
    return terminal_software.write(terminal, args.get("of"), _count(args, "offset"), data)


def _count(args: Args, name: str) -> int:
    value = args.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise CallRefused("bad_argument", f"{name}: expected a number of bytes")
    return value


_SOFTWARE: Mapping[str, Callable[[SimulatedTerminal, Args], object]] = {
    "software_status": lambda terminal, args: terminal_software.status(terminal, args.get("of")),
    "software_begin": lambda terminal, args: terminal_software.begin(
        terminal, args.get("of"), str(args.get("sha256", "")), _count(args, "length")
    ),
    "software_write": _software_write,
    "software_activate": lambda terminal, args: terminal_software.activate(
        terminal, args.get("of"), str(args.get("sha256", ""))
    ),
    "software_keep": lambda terminal, args: terminal_software.keep(terminal, args.get("of")),
    "software_give_up": lambda terminal, args: terminal_software.give_up(terminal, args.get("of")),
}

# What a real terminal does not do while somebody pays. Its screen shows what it is told all the same.
CHANGING: frozenset[str] = frozenset(
    {
        *("app_restart", "queue_send", "logs_purge", "clock_set", "modem_reregister", "config_set", "reboot"),
        *("print_test", "network_scan", "sign_in", "settle"),
        *("software_begin", "software_write", "software_activate", "software_keep", "software_give_up"),
    }
)
_CALLS: Mapping[str, Callable[[SimulatedTerminal, Args], object]] = {
    **{call: _software(do) for call, do in _SOFTWARE.items()},
    "describe": _describe,
    "readings": _readings,
    "signs": _signs,
    "safety": _safety,
    "app_status": _app_status,
    "app_restart": _app_restart,
    "queue_status": _queue_status,
    "queue_send": _queue_send,
    "logs_status": _logs_status,
    "logs_purge": _logs_purge,
    "clock_get": _clock_get,
    "clock_set": _clock_set,
    "modem_reregister": _modem_reregister,
    "config_get": _config_get,
    "config_set": _config_set,
    "reboot": _reboot,
    "print_test": _print_test,
    "show_text": _show_text,
    "network_scan": _network_scan,
    "sign_in": _sign_in,
    "settle": _settle,
    "storage": _storage,
    "memory": _memory,
    "certificate": _certificate,
    "log_tail": _log_tail,
    "net_probe": _net_probe,
}
