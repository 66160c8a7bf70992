"""Command line of the fleet server. Exit code 2 and one sentence for what a person can put right."""

import gc
import os
import sys
from importlib import import_module
from importlib.util import find_spec

import typer

from fleet_server.errors import FleetError
from protocol.shown_text import harmless_stream, one_line

# In the order of ``--help``. Each is light to import and has ``register(app)``.
_MODULES = (
    "init",
    "run",
    "api",
    "ingest",
    "scheduler",
    "issuer",
    "authority",
    "signer",
    "enrolment",
    "sites",
    "migrate",
    "broker",
    "backup",
    "tenants",
    "people",
    "accounts",
    "personal_data",
    "dead_letters",
    "audit",
    "export",
    "client",
    "inspections",
    "playbooks",
    "assignments",
    "freezes",
    "overrides",
    "approving",
    "approval_page",
    "policy",
    "rotate",
    "artifacts",
)
# New objects before a look for garbage; Python's own 700 is made for small programs.
_GC_THRESHOLD = 50_000


def make_app() -> typer.Typer:
    app = typer.Typer(
        name="fleet-server",
        help="The fleet's memory and face: console, API and the device door.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        # Its colours would be shown as what they are made of.
        rich_markup_mode=None,
    )
    for name in _MODULES:
        module = f"fleet_server.commands.{name}"
        if find_spec(module) is not None:
            import_module(module).register(app)
    return app


def main() -> None:
    # Whatever any command writes is its owner's alone.
    os.umask(0o077)
    # Loading the frameworks makes objects that stay: looking for garbage among them was a seventh of every start.
    gc.set_threshold(_GC_THRESHOLD)
    # What devices and people wrote is shown and logged; it must not steer the terminal of whoever reads it.
    sys.stdout, sys.stderr = harmless_stream(sys.stdout), harmless_stream(sys.stderr)
    try:
        make_app()()
    except FleetError as error:
        sys.stderr.write(f"fleet-server: {one_line(str(error))}\n")
        sys.exit(2)


if __name__ == "__main__":
    main()
