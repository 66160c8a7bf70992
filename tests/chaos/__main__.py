"""Runs of the whole product under faults, and the verdicts on them.

    python -m tests.chaos run --runs 20 --seed 1     goes on where the ledger ends
    python -m tests.chaos replay 17 --only 3,5       that plan again, or some of its steps
    python -m tests.chaos plan 17                    what seed 17 means
    python -m tests.chaos summary

Exit code 1 when a rule was broken, 2 when a run could not be made.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path
from typing import Any, Final

import msgspec

from tests.chaos import enclosure
from tests.chaos.cluster import NotUp
from tests.chaos.ledger import Ledger, Line, summary
from tests.chaos.plan import FEED_S, Plan, plan_for
from tests.chaos.run import Outcome, carry_out
from tests.chaos.site import Site, SiteUnusable, databases

DEFAULT_LEDGER: Final = Path(".chaos/ledger.jsonl")
_BAD: Final = 1
_UNUSABLE: Final = 2
_INTERRUPTED: Final = 130
_MOST_NOT_MADE: Final = 5


def main(arguments: list[str]) -> int:
    options = _parser().parse_args(arguments)
    if options.command == "summary":
        _say(summary(list(Ledger(options.ledger).lines.values())))
        return 0
    if options.command == "plan":
        _say(_plan(options.seed, options))
        return 0
    if not options.open and not enclosure.missing() and enclosure.place() is None:
        return enclosure.enter("tests.chaos", arguments)
    site = Site()
    try:
        return _replay(site, options) if options.command == "replay" else _run(site, options)
    except KeyboardInterrupt:
        return _INTERRUPTED
    except (SiteUnusable, NotUp) as error:
        sys.stderr.write(f"chaos: {error}\n")
        return _UNUSABLE
    finally:
        site.close()


def _run(site: Site, options: argparse.Namespace) -> int:
    ledger = Ledger(options.ledger)
    plans = [_plan(seed, options) for seed in range(options.seed, options.seed + options.runs)]
    for fault, why in site.cannot().items():
        sys.stdout.write(f"left out here: {fault.value} ({why})\n")
    not_made = 0
    for plan in plans:
        if ledger.holds(plan):
            continue
        if plan.database in databases():
            sys.stdout.write(f"seed {plan.seed} left out: {databases()[plan.database]}\n")
            continue
        try:
            _one(site, plan, ledger, options)
        except (SiteUnusable, NotUp) as error:
            # A machine that was too slow for once need not end a long series.
            not_made += 1
            sys.stderr.write(f"chaos: seed {plan.seed} could not be made: {error}\n")
            if not_made > _MOST_NOT_MADE:
                raise
    lines = [ledger.lines[plan.seed] for plan in plans if ledger.holds(plan)]
    _say(summary(lines))
    if not all(line.is_good for line in lines):
        return _BAD
    return _UNUSABLE if not_made else 0


def _replay(site: Site, options: argparse.Namespace) -> int:
    plan = _plan(options.seed, options)
    if options.only:
        plan = plan.only({int(number) for number in options.only.split(",")})
    ledger = Ledger(options.ledger.with_name("replays.jsonl"))
    lines = [_one(site, plan, ledger, options) for _ in range(options.times)]
    return 0 if all(line.is_good for line in lines) else _BAD


def _one(site: Site, plan: Plan, ledger: Ledger, options: argparse.Namespace) -> Line:
    _say(plan)
    outcome = carry_out(site, plan, ingest_module=options.ingest)
    kept = "" if outcome.is_good and not options.keep else str(_keep(site, outcome, options.ledger.parent))
    line = ledger.add(outcome, kept)
    word = "good" if line.is_good else "BAD "
    sys.stdout.write(
        f"{word} seed {plan.seed}: {line.records} records, {line.declared} declared as given up, "
        f"fed in {line.fed_s:.0f} s, drained {line.drain_s:.1f} s after the last fault, {line.run_s:.0f} s in all\n"
    )
    for violation in line.violations:
        sys.stdout.write(f"     {violation}\n")
    sys.stdout.flush()
    return line


def _keep(site: Site, outcome: Outcome, folder: Path) -> Path:
    """Everything that was said and written in a run, the agents' spools included."""
    place = folder / "kept" / f"seed-{outcome.plan.seed}"
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(site.logs, place)
    (place / "plan.json").write_bytes(msgspec.json.format(msgspec.json.encode(outcome.plan)))
    return place


def _plan(seed: int, options: argparse.Namespace) -> Plan:
    return plan_for(seed, records=options.records, faults=options.faults, feed_s=options.feed_s)


def _say(what: Any) -> None:
    sys.stdout.write(msgspec.json.encode(what).decode() + "\n")
    sys.stdout.flush()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--ledger", type=Path, default=DEFAULT_LEDGER)
    shared.add_argument("--records", type=int, default=10_000, help="records of a run, of all agents together")
    shared.add_argument("--faults", type=int, help="faults of a run; 5 to 10 when left out")
    shared.add_argument("--feed-s", type=float, default=FEED_S, help="how long the agents make records")
    shared.add_argument("--open", action="store_true", help="without namespaces, as where there is no root")
    shared.add_argument("--keep", action="store_true", help="keep what was said in a good run, too")
    shared.add_argument("--ingest", default="fleet_server", help="module that runs the ingest workers")
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", parents=[shared])
    run.add_argument("--runs", type=int, default=20)
    run.add_argument("--seed", type=int, default=1, help="of the first run; the others follow")
    replay = commands.add_parser("replay", parents=[shared])
    replay.add_argument("seed", type=int)
    replay.add_argument("--only", default="", help="numbers of the steps that are wanted, as 3,5")
    replay.add_argument("--times", type=int, default=1)
    commands.add_parser("plan", parents=[shared]).add_argument("seed", type=int)
    commands.add_parser("summary", parents=[shared])
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
