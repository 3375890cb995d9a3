"""The pages are those of the code."""

import importlib.util
import re
from pathlib import Path

import nearfield

DOCS = Path(__file__).parents[1] / "docs"


def test_the_overview_is_that_of_the_stubs():
    spec = importlib.util.spec_from_file_location("make_api", DOCS / "make_api.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert (DOCS / "api.md").read_text(encoding="utf-8") == module.overview(), "run python/docs/make_api.py"


def test_the_migration_page_names_calls_that_exist():
    text = (DOCS / "migration.md").read_text(encoding="utf-8")
    column = [line.rsplit("|", 2)[1] for line in text.splitlines() if line.startswith("|")]
    named = set(re.findall(r"(?:index|Index)\.([a-z_]+)\(", " ".join(column)))
    assert {"add", "upsert", "remove", "search", "get", "save", "open", "load", "calibrate"} == named
    assert all(hasattr(nearfield.Index, name) for name in named)
