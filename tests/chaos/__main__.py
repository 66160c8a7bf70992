"""Runs of the whole product under faults, and the verdicts on them.

    python -m tests.chaos run --runs 20 --seed 1     goes on where the ledger, and the table in docs, end;
                                                     --jobs 2: two side by side
    python -m tests.chaos replay 17 --only 3,5       that plan again, or some of its steps
    python -m tests.chaos plan 17                    what seed 17 means
    python -m tests.chaos summary
    python -m tests.chaos report --runs 200 --seed 1  adds to docs/chaos-runs.csv and to what the page says of it

Exit code 1 when a rule was broken, 2 when a run could not be made.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path
from typing import Any, Final

import msgspec

from tests.chaos import enclosure, report
from tests.chaos.cluster import NotUp
from tests.chaos.ledger import Ledger, Line, summary
from tests.chaos.plan import FEED_S, Plan, plan_for
from tests.chaos.run import Outcome, carry_out
from tests.chaos.series import MODULE, SEEDS_FROM, carried_out, say, taken
from tests.chaos.site import LEFT_OUT_IN_THE_OPEN, Site, SiteUnusable, databases

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
    if options.command == "report":
        return _report(options)
    if options.command == "plan":
        _say(_plan(options.seed, options))
        return 0
    is_open = options.open or bool(enclosure.missing())
    if options.command == "run" and options.seeds_from is None:
        return _run(arguments, options, is_open=is_open)
    if options.command == "replay" and not is_open and enclosure.place() is None:
        with enclosure.begun(MODULE, arguments) as process:
            return enclosure.ended(process)
    return _inside(options)


def _inside(options: argparse.Namespace) -> int:
    site = Site()
    try:
        return _replay(site, options) if options.command == "replay" else _work(site, options)
    except KeyboardInterrupt:
        return _INTERRUPTED
    except (SiteUnusable, NotUp) as error:
        sys.stderr.write(f"chaos: {error}\n")
        return _UNUSABLE
    finally:
        site.close()


def _run(arguments: list[str], options: argparse.Namespace, *, is_open: bool) -> int:
    plans = _plans(options)
    for fault, why in LEFT_OUT_IN_THE_OPEN.items() if is_open else ():
        say(f"left out here: {fault.value} ({why})")
    for plan in plans:
        if plan.database in databases():
            say(f"seed {plan.seed} left out: {databases()[plan.database]}")
    possible = [plan for plan in plans if plan.database not in databases()]
    known = Ledger(options.ledger)
    told = report.told(report.read(report.TABLE), possible, known.version)
    made = told | {plan.seed: known.lines[plan.seed].is_good for plan in possible if known.holds(plan)}
    done = {seed for seed, is_good in made.items() if is_good or not options.again}
    if told:
        say(f"in {report.TABLE.name} already, of this version of the product: seeds {', '.join(map(str, told))}")
    ahead = [plan.seed for plan in possible if plan.seed not in done]
    exit_codes = carried_out(ahead, options.jobs, arguments, is_open=is_open)
    ledger = Ledger(options.ledger)
    lines = [ledger.lines[plan.seed] for plan in plans if ledger.holds(plan)]
    _say(summary(lines))
    if not all(line.is_good for line in lines):
        return _BAD
    if _INTERRUPTED in exit_codes:
        return _INTERRUPTED
    missing = any(not ledger.holds(plan) and plan.seed not in told for plan in possible)
    return _UNUSABLE if any(exit_codes) or missing else 0


def _work(site: Site, options: argparse.Namespace) -> int:
    ledger = Ledger(options.ledger)
    not_made = 0
    for seed in taken(options.seeds_from):
        try:
            _one(site, _plan(seed, options), ledger, options)
        except (SiteUnusable, NotUp) as error:
            # A machine that was too slow for once need not end a long series.
            not_made += 1
            sys.stderr.write(f"chaos: seed {seed} could not be made: {error}\n")
            if not_made > _MOST_NOT_MADE:
                raise
    return 0


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
    phases = line.phases
    word = "good" if line.is_good else "BAD "
    told = (
        f"{word} seed {plan.seed}: {line.records} records, {line.declared} declared as given up, "
        f"up in {phases.start:.0f} s, faults over after {phases.faults:.0f} s, drained {phases.drain:.1f} s later, "
        f"{phases.together:.0f} s in all"
    )
    say("\n".join([told, *(f"     {violation}" for violation in line.violations)]))
    return line


def _keep(site: Site, outcome: Outcome, folder: Path) -> Path:
    """Everything that was said and written in a run, the agents' spools included."""
    place = folder / "kept" / f"seed-{outcome.plan.seed}"
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(site.logs, place)
    (place / "plan.json").write_bytes(msgspec.json.format(msgspec.json.encode(outcome.plan)))
    return place


def _report(options: argparse.Namespace) -> int:
    try:
        runs = report.runs_of(Ledger(options.ledger), _plans(options), report.read(report.TABLE))
    except report.NotWhole as error:
        sys.stderr.write(f"chaos: {error}\n")
        return _UNUSABLE
    report.write(runs, report.TABLE, report.PAGE)
    return 0


def _plans(options: argparse.Namespace) -> list[Plan]:
    return [_plan(seed, options) for seed in range(options.seed, options.seed + options.runs)]


def _plan(seed: int, options: argparse.Namespace) -> Plan:
    return plan_for(seed, records=options.records, faults=options.faults, feed_s=options.feed_s)


def _say(what: Any) -> None:
    say(msgspec.json.encode(what).decode())


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
    series = argparse.ArgumentParser(add_help=False)
    series.add_argument("--runs", type=int, default=20)
    series.add_argument("--seed", type=int, default=1, help="of the first run; the others follow")
    commands.add_parser("report", parents=[shared, series])
    run = commands.add_parser("run", parents=[shared, series])
    run.add_argument("--jobs", type=int, default=1, help="runs side by side")
    run.add_argument("--again", action="store_true", help="those that ended badly once more; the ledger keeps both")
    run.add_argument(SEEDS_FROM, type=int, help=argparse.SUPPRESS)
    replay = commands.add_parser("replay", parents=[shared])
    replay.add_argument("seed", type=int)
    replay.add_argument("--only", default="", help="numbers of the steps that are wanted, as 3,5")
    replay.add_argument("--times", type=int, default=1)
    commands.add_parser("plan", parents=[shared]).add_argument("seed", type=int)
    commands.add_parser("summary", parents=[shared])
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
