"""Indexes and collections in notebooks."""

from __future__ import annotations

from html import escape
from typing import Any


def _bytes(count: int) -> str:
    for unit in ["bytes", "kB", "MB", "GB"]:
        if count < 1000 or unit == "GB":
            return f"{count:.1f} {unit}" if unit != "bytes" else f"{count} bytes"
        count /= 1000  # type: ignore[assignment]
    return str(count)


def _curve(calibration: dict[str, Any]) -> str:
    """Returns the measured recall over `ef` as a picture."""
    points = calibration["points"]
    width, height, left, top = 240, 90, 34, 8
    low = min(recall for _, recall, _ in points)
    span = max(1 - low, 1e-3)
    step = width / max(len(points) - 1, 1)
    places = [
        (left + at * step, top + height * (1 - recall) / span) for at, (_, recall, _) in enumerate(points)
    ]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    dots = "".join(
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.5"><title>ef {ef}: {recall:.4f}</title></circle>'
        for (x, y), (ef, recall, _) in zip(places, points)
    )
    first, last = points[0][0], points[-1][0]
    return (
        f'<svg width="{left + width + 10}" height="{top + height + 24}" font-size="10" fill="currentColor">'
        f'<polyline points="{line}" fill="none" stroke="currentColor"/>{dots}'
        f'<text x="0" y="{top + 8}">1.0</text><text x="0" y="{top + height}">{low:.3f}</text>'
        f'<text x="{left}" y="{top + height + 18}">ef {first}</text>'
        f'<text x="{left + width}" y="{top + height + 18}" text-anchor="end">{last}</text></svg>'
    )


def html(searched: Any) -> str:
    """Returns a table of sizes, and the measured recall, as HTML."""
    if searched.closed or not hasattr(searched, "stats"):
        return f"<code>{escape(repr(searched))}</code>"
    try:
        stats = searched.stats()
    except Exception:  # The notebook shows the object all the same: a reader has no statistics.
        return f"<code>{escape(repr(searched))}</code>"
    stats = stats.get("index", stats)
    rows = [
        ("vectors", f"{stats['len']:,}"),
        ("dimension", f"{stats['dimension']} x {stats['element']}"),
        ("metric", stats["metric"]),
        ("bits of a code's component", "none" if stats["code_bits"] is None else str(stats["code_bits"])),
        ("instruction set", stats["isa"]),
    ]
    rows += [(f"memory: {name}", _bytes(count)) for name, count in stats["bytes"].items() if count]
    table = "".join(f"<tr><td>{escape(name)}</td><td>{escape(str(value))}</td></tr>" for name, value in rows)
    curve = f"<p>recall@{stats['calibration']['k']}</p>{_curve(stats['calibration'])}" if stats["calibration"] else ""
    return f"<b>{escape(type(searched).__name__)}</b><table>{table}</table>{curve}"
