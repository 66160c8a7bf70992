"""``simulators run SCENARIO``: plays a day of some terminals, recorded on virtual time or into a running demo."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any


def add_scenario_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser("run", help="play a scenario; without a name, list those there are")
    parser.add_argument("scenario", nargs="?", help="a name, or the path of a TOML file")
    parser.add_argument("--data", type=Path, metavar="DIR", help="play it into the demo running in this state folder")
    parser.add_argument("--speed", type=_speed, metavar="N", help="scenario seconds a real second (with --data: 1)")
    parser.add_argument("--seed", type=int, help="of what is left to chance; the scenario's own when left out")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    parser.set_defaults(run=run_scenario)


def run_scenario(arguments: argparse.Namespace) -> int:
    """0; 1 when a code that the scenario promises was not reported."""
    from simulators.scenarios.play import play_into_demo, play_recorded
    from simulators.scenarios.scenario_file import known_scenarios, read_scenario
    from simulators.scenarios.story import Story

    if arguments.scenario is None:
        for name in known_scenarios():
            title = read_scenario(name).title
            sys.stdout.write(f"{name:<14} {title.zh} / {title.en}\n")
        return 0
    scenario = read_scenario(arguments.scenario)
    seed = scenario.seed if arguments.seed is None else arguments.seed
    story = Story(_say, as_json=arguments.json)
    if arguments.data is not None:
        missing = play_into_demo(scenario, seed, story, arguments.data, arguments.speed or 1.0)
    else:
        missing = play_recorded(scenario, seed, story, arguments.speed)
    return 1 if missing else 0


def _say(line: str) -> None:
    sys.stdout.write(line)
    sys.stdout.flush()


def _speed(text: str) -> float:
    speed = float(text)
    if not 0 < speed <= 100_000:
        raise argparse.ArgumentTypeError(f"expected more than 0 and at most 100000, came {text}")
    return speed
