#!/usr/bin/env python3
"""Draws docs/peers.svg from docs/peers.json, and prints the same rows as a Markdown table.

    cargo run --release -p bench-peers -- --json > docs/peers.json
    bench-peers/chart.py
"""
import json
import pathlib
from xml.sax.saxutils import escape

DOCS = pathlib.Path(__file__).resolve().parent.parent / "docs"
PANELS = ["seal 64 KiB segments in cache", "open 64 KiB segments in cache"]
LEFT, WIDTH, BAR, GAP = 190, 640, 18, 8


def panel(title, rows, top):
    """One bar for Strongroom and one for each peer, longest first."""
    bars = [("Strongroom, suite 1", rows[0]["ours"], True)]
    bars += [(row["peer_name"], row["peer"], False) for row in rows]
    bars.sort(key=lambda bar: -bar[1])
    scale = (WIDTH - LEFT - 60) / bars[0][1]
    yield f'<text x="0" y="{top}" class="title">{escape(title)}</text>'
    for i, (name, rate, is_ours) in enumerate(bars):
        y = top + 14 + i * (BAR + GAP)
        width = rate * scale
        yield f'<text x="{LEFT - 8}" y="{y + 13}" text-anchor="end">{escape(name)}</text>'
        yield f'<rect x="{LEFT}" y="{y}" width="{width:.1f}" height="{BAR}" class="{"ours" if is_ours else "peer"}"/>'
        yield f'<text x="{LEFT + width + 6:.1f}" y="{y + 13}">{rate:.3g}</text>'


def chart(rows):
    lines, top = [], 20
    for name in PANELS:
        found = [row for row in rows if row["id"] == "P1" and row["work"].startswith(name)]
        lines += panel(found[0]["work"], found, top)
        top += 14 + (len(found) + 1) * (BAR + GAP) + 28
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {top - 20}" role="img">',
            "<style>text{font:12px sans-serif;fill:#57606a}.title{font-weight:bold;font-size:13px}"
            ".ours{fill:#1a7f37}.peer{fill:#8c959f}</style>",
            *lines,
            "</svg>",
            "",
        ]
    )


def number(value):
    if value is None:
        return "-"
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def table(rows):
    said = {True: "holds", False: "short", None: "", "not applicable": "not applicable"}
    yield "| | work | Strongroom | peer | ratio | target | |"
    yield "|---|---|---:|---|---:|---|---|"
    for row in rows:
        peer = row["peer_name"] if row["peer"] is None else f'{row["peer_name"]}: {number(row["peer"])}'
        cells = [row["id"], row["work"], number(row["ours"]), peer, number(row["ratio"]), row["target"], said[row["holds"]]]
        yield "| " + " | ".join(cells) + " |"


if __name__ == "__main__":
    measured = json.loads((DOCS / "peers.json").read_text())
    (DOCS / "peers.svg").write_text(chart(measured))
    print("\n".join(table(measured)))
