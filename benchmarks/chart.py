"""A bar chart as SVG."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

_LEFT, _WIDTH, _BAR = 230, 420, 18
_COLOURS = ("#7aa6c2", "#2f5d7c")


def bars(title: str, values: Mapping[str, Mapping[str, float]]) -> str:
    """Groups of horizontal bars: by what is measured, then by circumstance."""
    longest = max(value for group in values.values() for value in group.values())
    parts = [f'<text x="10" y="24" font-size="16">{escape(title)}</text>']
    top = 44
    for name, group in values.items():
        parts.append(f'<text x="10" y="{top + 22}">{escape(name)}</text>')
        for (circumstance, value), colour in zip(group.items(), _COLOURS, strict=True):
            width = value / longest * _WIDTH
            parts.append(
                f'<rect x="{_LEFT}" y="{top}" width="{width:.0f}" height="{_BAR - 2}" '
                f'fill="{colour}"/><text x="{_LEFT + width + 6:.0f}" y="{top + 13}">{value:.2f} '
                f"({escape(circumstance)})</text>"
            )
            top += _BAR
        top += 14
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 820 {top}" font-family="sans-serif" '
        'font-size="13"><rect width="100%" height="100%" fill="#ffffff"/>'
        + "".join(parts)
        + "</svg>\n"
    )
