"""Writes a revision of the schema from the models.

``python tools/build_migration.py`` makes ``0001`` anew: only before the first release, and only while nothing but the
audit's triggers (``0002``) comes after it. With words that say why it is needed, it adds the step from the newest
revision to the models. Steps only go forward: a backup is the way back.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from alembic.command import revision

from fleet_server import migrate
from fleet_server.db import open_engine
from fleet_server.schema import MIGRATIONS

_VERSIONS = MIGRATIONS / "versions"


def main() -> None:
    parser = argparse.ArgumentParser(description="Writes a revision of the schema from the models.")
    parser.add_argument("why", nargs="*", help="why the step is needed; without it 0001 is made anew")
    why = " ".join(parser.parse_args().why)
    if not why and any(step.name > "0003" for step in _VERSIONS.glob("0*.py")):
        parser.error("0001 cannot be made anew once later steps exist: say why a further step is needed")
    with tempfile.TemporaryDirectory() as folder:
        written = _render(Path(folder), why)
        if not why:
            for old in _VERSIONS.glob("0001_*.py"):
                old.unlink()
        lines = [line for line in written.read_text("utf-8").splitlines() if "# ###" not in line]
        target = _VERSIONS / written.name
        target.write_text("\n".join(lines) + "\n", "utf-8")
    for order in (["check", "--fix-only", "-q"], ["format", "-q"]):
        subprocess.run([sys.executable, "-m", "ruff", *order, str(target)], check=True)


def _render(folder: Path, why: str) -> Path:
    """The new file, made beside a copy of the steps that come before it."""
    scripts = folder / "migrations"
    shutil.copytree(MIGRATIONS, scripts, ignore=shutil.ignore_patterns("__pycache__", *([] if why else ["0*.py"])))
    engine = open_engine(f"sqlite:///{folder}/empty.db")
    newest = migrate.upgrade(engine)[1] if why else "0000"
    config = migrate.alembic_config()
    config.set_main_option("script_location", str(scripts))
    config.set_main_option("file_template", "%%(rev)s_%%(slug)s")
    name = f"{int(newest) + 1:04d}"
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        revision(config, why or "the first tables", autogenerate=True, rev_id=name)
    engine.dispose()
    return next((scripts / "versions").glob(f"{name}_*.py"))


if __name__ == "__main__":
    main()
