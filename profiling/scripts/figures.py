#!/usr/bin/env python3
"""Prints figures of the sources as a Markdown table: files, folders, signatures, words of comments, tests, names.

figures.py: no arguments; Python 3.8 or later, no other package.
"""

import re
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SRC = ROOT / "src"
MOST_PARAMETERS = 6
LONG_FILE = 500

# The rule of `tests/architecture_support/words.rs`.
ALONE = {"what", "whatever", "who", "whoever", "nobody", "somebody", "anybody", "stand", "stands"}
AFTER = {
    "so": {"many", "much", "few", "far"},
    "as": {"many", "much", "few", "far"},
    "there": {"is", "are", "was", "were"},
}

# Comments, strings and characters of Rust; block comments are not nested in these sources.
NOT_CODE = re.compile(
    r"""//[^\n]*
      | /\*.*?\*/
      | \bb?r(?P<fence>\#*)".*?"(?P=fence)
      | "(?:\\.|[^"\\])*"
      | '(?:\\(?:u\{[^}]*\}|x..|.)|[^'\\\n])'
    """,
    re.DOTALL | re.VERBOSE,
)
OPEN, CLOSE = "([{<", ")]}>"


def code(text):
    """Returns the text of a source file without comments, and with empty strings and characters."""

    def blank(match):
        return '""' if match.group(0)[0] in "\"'br" else " " + "\n" * match.group(0).count("\n")

    return NOT_CODE.sub(blank, text)


def enclosed(text, start):
    """Returns the parts between commas inside the bracket at `start`, and the place after it. `->` closes nothing."""
    depth, parts, begin = 0, [], start + 1
    for i in range(start, len(text)):
        c = text[i]
        if c == ">" and text[i - 1] in "-=":
            continue
        if c in OPEN:
            depth += 1
        elif c in CLOSE:
            depth -= 1
        if depth == 0 or (c == "," and depth == 1):
            parts.append(text[begin:i])
            begin = i + 1
        if depth == 0:
            return [part for part in parts if part.strip()], i + 1
    raise ValueError("a bracket without its end: " + text[start : start + 60])


def functions(text):
    """Yields the name and the number of parameters of each function with a name; `self` counts, as it does for clippy."""
    for match in re.finditer(r"\bfn\s+(\$?\w+)\s*(?=[<(])", text):
        place = match.end()
        if text[place] == "<":
            _, place = enclosed(text, place)
            place += len(text[place:]) - len(text[place:].lstrip())
        parameters, _ = enclosed(text, place)
        yield match.group(1), len(parameters)


def words(text):
    """Returns the words of the comments of a source file, in lower case; an identifier in backticks is one word."""
    found = []
    for line in text.splitlines():
        _, slashes, comment = line.partition("//")
        if not slashes:
            continue
        for i, prose in enumerate(comment.split("`")):
            found += ["code"] if i % 2 else re.findall(r"[a-z']+", prose.lower(), re.ASCII)
    return found


def hidden(found):
    """Returns the number of words, and of pairs of words, that hide a noun."""
    alone = sum(word in ALONE for word in found)
    return alone + sum(second in AFTER.get(first, ()) for first, second in zip(found, found[1:]))


def page_words(path):
    """Returns the number of words of a Markdown page: parts between spaces and cells that have a letter or a digit."""
    return sum(any(c.isalnum() for c in part) for part in path.read_text().replace("|", " ").split())


def names(text):
    """Returns the names that `pub use` takes to the root, those on the documentation's pages and those hidden from them."""
    seen, unseen = [], []
    for match in re.finditer(r"^((?:#\[[^\]]*\]\s*)*)pub use ([^;]*);", text, flags=re.MULTILINE):
        listed = re.sub(r"^.*\{|\}.*$", "", match.group(2), flags=re.DOTALL)
        into = unseen if "doc(hidden)" in match.group(1) else seen
        into += [name.strip().rsplit("::", 1)[-1] for name in listed.split(",") if name.strip()]
    return seen, unseen


def main():
    sources = {path.relative_to(SRC): path.read_text() for path in sorted(SRC.rglob("*.rs"))}
    codes = {path: code(text) for path, text in sources.items()}
    rows = []

    def row(figure, value):
        rows.append((figure, value))

    folders = defaultdict(int)
    for path in sources:
        folders[path.parent] += 1
    most = max(folders, key=folders.get)
    lines = {path: text.count("\n") for path, text in sources.items()}
    longest = max(lines, key=lines.get)
    row("source files in `src/`", len(sources))
    row("folders in `src/`, itself included", len(folders))
    row("source files in the largest folder", f"{folders[most]} (`src/{most.as_posix()}`)")
    row("lines in `src/`", f"{sum(lines.values()):,}")
    row("lines of the largest source file", f"{lines[longest]} (`src/{longest.as_posix()}`)")
    row(f"source files of more than {LONG_FILE} lines", sum(n > LONG_FILE for n in lines.values()))

    signatures = [count for text in codes.values() for _, count in functions(text)]
    row("functions in `src/`", f"{len(signatures):,}")
    row(f"functions with more than {MOST_PARAMETERS} parameters", sum(n > MOST_PARAMETERS for n in signatures))
    row("largest number of parameters", max(signatures))
    expected = re.compile(r"\bexpect\([^)]*\btoo_many_arguments\b")
    row("`expect(clippy::too_many_arguments)` in `src/`", sum(len(expected.findall(t)) for t in codes.values()))

    parts = defaultdict(lambda: [0, 0])
    for path, text in sources.items():
        found = words(text)
        part = parts[re.split(r"[/.]", path.as_posix())[0]]
        part[0] += hidden(found)
        part[1] += len(found)

    def share(count, total):
        return f"{count * 1000 / max(total, 1):.2f} ({count} of {total:,})"

    row("hidden nouns per 1,000 words of comments", share(*map(sum, zip(*parts.values()))))
    for part, (count, total) in sorted(parts.items()):
        row(f"hidden nouns per 1,000 words of comments, `{part}`", share(count, total))

    for page in ["README.md", "ARCHITECTURE.md"]:
        row(f"words of `{page}`, without the markup of tables", f"{page_words(ROOT / page):,}")
    tests = ROOT / "tests"
    row("test binaries in `tests/`", len([*tests.glob("*.rs"), *tests.glob("*/main.rs")]))
    seen, unseen = names(codes[Path("lib.rs")])
    row("names re-exported at the crate root", len(seen))
    row("names re-exported at the crate root, hidden from its documentation", len(unseen))

    print("| figure | value |\n|---|---|")
    for figure, value in rows:
        print(f"| {figure} | {value} |")


if __name__ == "__main__":
    main()
