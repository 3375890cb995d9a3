"""Writes `api.md` from the stubs: every class and method of the extension, with the first paragraph of its text.

    python python/docs/make_api.py
"""

from __future__ import annotations

import ast
from pathlib import Path

DOCS = Path(__file__).parent
STUBS = DOCS.parent / "nearfield" / "_nearfield.pyi"
SHOWN = ["Index", "Flat", "Ivf", "MemoryIndex", "Searchable", "Hits", "KeySet", "Collection", "View", "Snapshot", "Transaction", "Selection"]


def begin(node: ast.ClassDef | ast.FunctionDef) -> str:
    """Returns the first paragraph of a text."""
    return " ".join((ast.get_docstring(node) or "").split("\n\n")[0].split())


def signature(function: ast.FunctionDef) -> str:
    given = function.args
    names = [argument.arg for argument in [*given.posonlyargs, *given.args] if argument.arg not in ("self", "cls")]
    if given.vararg:
        names.append(f"*{given.vararg.arg}")
    elif given.kwonlyargs:
        names.append("*")
    names += [argument.arg for argument in given.kwonlyargs]
    return f"({', '.join(names)})"


def methods(node: ast.ClassDef) -> list[str]:
    lines = {}
    for item in node.body:
        if not isinstance(item, ast.FunctionDef) or not ast.get_docstring(item):
            continue
        marks = {mark.id for mark in item.decorator_list if isinstance(mark, ast.Name)}
        shown = item.name if "property" in marks else item.name + signature(item)
        lines[item.name] = f"| `{shown}` | {begin(item)} |"
    return list(lines.values())


def overview() -> str:
    classes = {node.name: node for node in ast.parse(STUBS.read_text(encoding="utf-8")).body if isinstance(node, ast.ClassDef)}
    parts = ["# The interface at a glance\n", "Made from the stubs by `make_api.py`; `help(nearfield.Index)` has the whole text of each.\n"]
    for name in SHOWN:
        node = classes[name]
        bases = [base.id for base in node.bases if isinstance(base, ast.Name)]
        title = f"## `{name}`" + (f", a `{bases[0]}`" if bases else "")
        table = ["", "| | |", "|---|---|", *methods(node)] if methods(node) else []
        parts.append("\n".join([title, "", begin(node), *table]) + "\n")
    return "\n".join(parts)


if __name__ == "__main__":
    (DOCS / "api.md").write_text(overview(), encoding="utf-8")
