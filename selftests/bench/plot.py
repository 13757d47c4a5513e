# SPDX-License-Identifier: GPL-2.0-only
"""Results as an SVG: for each machine and work, a bar for each target's ratio to the
file; the scale is logarithmic, for qemu-nbd's bars are long."""
from math import log

PANEL, BAR, NAME, GAP = 300, 13, 92, 18
COLOURS = (("file", "#777"), ("block", "#777"), ("fresh-file", "#777"), ("loop", "#b58900"),
           ("fresh-loop", "#b58900"), ("linear", "#b58900"), ("nbd", "#dc322f"),
           ("fresh-nbd", "#dc322f"), ("ring", "#6c71c4"), ("fresh-ring", "#6c71c4"))
LAYOUT = "#2aa198"


def colour(target):
    return next((c for prefix, c in COLOURS if target.startswith(prefix)
                 and target != "block-raw"), LAYOUT)


def text(x, y, words, more=""):
    return f'<text x="{x:.1f}" y="{y:.1f}" {more}>{words}</text>'


def panel(x, y, title, bars, longest):
    """bars: [(target, ratio)]; returns elements and height"""
    room = PANEL - NAME - 50
    scale = room / log(1 + longest)
    parts = [text(x, y + 11, title, 'font-weight="bold"')]
    one = x + NAME + scale * log(2)
    top = y + BAR + 4
    for i, (target, value) in enumerate(bars):
        at = top + i * BAR
        width = scale * log(1 + value)
        parts.append(text(x + NAME - 4, at + 10, target, 'text-anchor="end"'))
        parts.append(f'<rect x="{x + NAME}" y="{at + 1}" width="{width:.1f}" '
                     f'height="{BAR - 3}" fill="{colour(target)}"/>')
        parts.append(text(x + NAME + width + 3, at + 10, f"{value:.2f}"))
    bottom = top + len(bars) * BAR
    parts.append(f'<path d="M{one:.1f} {top}V{bottom}" stroke="#000" stroke-dasharray="2"/>')
    return parts, bottom - y + GAP


def plot(machines, ratio):
    parts, y, columns = [], 30, 4
    for (clock, backing), machine in machines.items():
        parts.append(text(10, y, f"{clock}, {backing}: cost of an I/O as a ratio to the file's",
                          'font-size="14"'))
        y += 12
        panels = []
        for work in dict.fromkeys(work for _, work in machine):
            bars = [(target, ratio(machine, target, work))
                    for target, of in machine if of == work]
            panels.append((work, [bar for bar in bars if bar[1]]))
        longest = max((bar[1] for _, bars in panels for bar in bars), default=1)
        for first in range(0, len(panels), columns):
            heights = [0]
            for i, (work, bars) in enumerate(panels[first:first + columns]):
                more, height = panel(10 + i * (PANEL + GAP), y, work, bars, longest)
                parts += more
                heights.append(height)
            y += max(heights)
        y += 16
    width = 10 + columns * (PANEL + GAP)
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{y}" '
            'font-family="sans-serif" font-size="10">\n'
            f'<rect width="{width}" height="{y}" fill="#fff"/>\n'
            + "\n".join(parts) + "\n</svg>\n")
