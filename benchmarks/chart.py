"""A chart of the rates, for the pages."""

import math
import statistics
from collections.abc import Iterable, Sequence
from xml.etree.ElementTree import Comment, Element

import pygal
from pygal.style import Style

from . import bars
from .plan import Findings

_MEASURES = (bars.CALLS, bars.ANYIO_TASKS, bars.ASYNCIO_TASKS, bars.MANY)
_STYLE = Style(
    background="white",
    plot_background="white",
    colors=("#dbe2e5", "#90a4ae", "#ef9a9a", "#90caf9", "#a5d6a7", "#d7b899"),
    opacity="1",
    guide_stroke_color="#cfd8dc",
    major_guide_stroke_color="#cfd8dc",
    font_family="sans-serif",
    label_font_size=13,
    major_label_font_size=13,
    value_font_size=11,
    title_font_size=16,
    legend_font_size=13,
)


def draw(findings: Findings, drivers: Sequence[str]) -> bytes:
    """Draw the median rates of every contender, on a logarithmic scale, as an SVG image."""
    contenders = (bars.FLOOR, bars.PAPYRA, *drivers, bars.MAKERS)
    rates = {
        each: [_median(findings.samples.of(measure, each, "rate")) for measure in _MEASURES] for each in contenders
    }
    chart = pygal.HorizontalBar(
        style=_STYLE,
        title=f"Records per second, {findings.version}",
        logarithmic=True,
        print_values=True,
        margin_right=50,
        value_formatter=lambda rate: f"{rate:,.0f}" if rate else "",
        legend_at_bottom=True,
        legend_at_bottom_columns=len(contenders),
        width=1000,
        height=700,
        js=(),
    )
    lowest, highest = _powers_of_ten(rate for each in rates.values() for rate in each if rate)
    chart.y_labels = [10**power for power in range(lowest, highest + 1)]
    chart.range = (10**lowest, 10**highest)
    chart.zero = 10**lowest
    # By default every drawing has another name in it, and the day it was made.
    chart.uuid = "rates"
    chart.add_xml_filter(_without_scripts)
    # A horizontal chart counts upwards.
    chart.x_labels = _MEASURES[::-1]
    for contender in contenders:
        if any(rates[contender]):
            chart.add(contender, rates[contender][::-1])
    drawing: bytes = chart.render()
    return drawing


def _median(values: list[float]) -> float | None:
    return statistics.median(values) if values else None


def _powers_of_ten(rates: Iterable[float]) -> tuple[int, int]:
    powers = [math.log10(rate) for rate in rates]
    return math.floor(min(powers)), math.ceil(max(powers))


def _without_scripts(root: Element) -> Element:
    for parent in [root, *root.iter("defs")]:
        for child in list(parent):
            # ElementTree marks a comment by the function that makes one.
            if child.tag in (Comment, "script"):
                parent.remove(child)
    return root
