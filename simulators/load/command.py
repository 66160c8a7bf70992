"""``simulators load``: enrols a fleet of simulated links, lets them talk to a real broker and server, and adds up."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from pathlib import Path
from typing import Any


def add_load_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser("load", help="many simulated links against a real broker and server")
    parser.add_argument("--data", type=Path, default=Path(".load"), metavar="DIR", help="state folder (default .load)")
    parser.add_argument("--running", action="store_true", help="broker and server of the state folder run already")
    parser.add_argument("--database-url", help="PostgreSQL instead of the embedded SQLite file")
    parser.add_argument("--links", type=int, default=100, metavar="N", help="connections (default 100)")
    parser.add_argument("--attached", type=int, default=0, metavar="N", help="devices on each link (default none)")
    parser.add_argument("--minutes", type=float, default=1.0, metavar="N", help="how long they talk (default 1)")
    parser.add_argument("--report", type=float, default=60.0, metavar="S", help="seconds between reports (default 60)")
    parser.add_argument("--sample", type=float, default=60.0, metavar="S", help="seconds between samples (default 60)")
    parser.add_argument("--metrics", type=int, default=10, metavar="N", help="metrics in a sample (default 10)")
    parser.add_argument(
        "--faults", type=float, default=0.02, metavar="N", help="faults a device and hour (default 0.02)"
    )
    parser.add_argument(
        "--burst", type=float, default=1.0, metavar="N", help="times as many faults in the second third (default 1)"
    )
    parser.add_argument("--in-step", action="store_true", help="all links report in the same moment")
    parser.add_argument("--drain", type=float, default=120.0, metavar="S", help="patience with the last acks")
    parser.add_argument("--ingest", type=int, default=1, metavar="N", help="ingest processes (default 1)")
    parser.add_argument("--seed", type=int, default=1, help="of what is left to chance")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    parser.set_defaults(run=run_load)


def run_load(arguments: argparse.Namespace) -> int:
    """0; 1 when a record was not acknowledged in the end."""
    from simulators.load.fleet import FleetSize, read_bundles, read_policy
    from simulators.load.run import LoadRun
    from simulators.load.stage import Stage
    from simulators.load.traffic import Traffic

    size = FleetSize(arguments.links, arguments.attached)
    seconds = arguments.minutes * 60
    traffic = Traffic(
        report_s=arguments.report,
        sample_s=arguments.sample,
        metrics=arguments.metrics,
        faults_per_device_hour=arguments.faults,
        burst_factor=arguments.burst,
        burst_from_s=seconds / 3,
        burst_for_s=seconds / 3,
        in_step=arguments.in_step,
    )
    say = _Teller(is_json=arguments.json)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    began_s = time.monotonic()
    with Stage(arguments.data, size, database_url=arguments.database_url, ingest=arguments.ingest) as stage:
        stage.enrol()
        say.line({"enrolled": size.terminals, "took_s": round(time.monotonic() - began_s, 1)})
        if not arguments.running:
            stage.start()
        run = LoadRun(
            read_bundles(stage.agents, size), read_policy(stage.policy), traffic, seed=arguments.seed, tell=say.progress
        )
        try:
            connect_s = run.connect()
            held_s = run.talk(seconds)
            summary = run.summary(connect_s, held_s, run.drain(arguments.drain))
        finally:
            run.close()
    say.line(summary.as_dict())
    return 0 if summary.is_well else 1


class _Teller:
    def __init__(self, *, is_json: bool) -> None:
        self._is_json = is_json

    def line(self, values: dict[str, Any]) -> None:
        text = (
            json.dumps(values) if self._is_json else "".join(f"{name:<20} {value}\n" for name, value in values.items())
        )
        sys.stdout.write(text.rstrip("\n") + "\n")
        sys.stdout.flush()

    def progress(self, one: Any) -> None:
        if self._is_json:
            from dataclasses import asdict

            self.line(asdict(one))
            return
        sys.stdout.write(
            f"{one.elapsed_s:7.0f} s  {one.phase:<10} {one.connected:>6} connected  made {one.made_per_s:8.0f}/s"
            f"  acked {one.acked_per_s:8.0f}/s  p50 {one.ack_p50_s:7.3f} s  p99 {one.ack_p99_s:7.3f} s"
            f"  open {one.open_records:>7}  again {one.resent}\n"
        )
        sys.stdout.flush()
