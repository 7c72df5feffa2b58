"""Charts of the rates, for the pages: one for each part."""

import math
import statistics
from collections.abc import Callable, Iterable, Iterator, Sequence
from xml.etree.ElementTree import Comment, Element

import pygal
from pygal.style import Style

from . import bars
from .plan import MAINTENANCE, READING, WRITING, Findings

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


Rates = dict[str, list[float | None]]
"""The bars of each colour, from top to bottom."""


def draw(findings: Findings, drivers: Sequence[str]) -> Iterator[tuple[str, bytes]]:
    """Draw the median rates of every contender as SVG images, and yield each with a file's name."""
    if WRITING in findings.parts:
        yield (
            f"bench-{findings.server}.svg",
            _drawing(f"Records per second, {findings.version}", _MEASURES, _of_writing(findings, drivers)),
        )
    if READING in findings.parts:
        yield (
            f"bench-{findings.server}-reading.svg",
            _drawing(f"Entries handled per second, {findings.version}", drivers, _of_reading(findings, drivers)),
        )
    if MAINTENANCE in findings.parts:
        yield (
            f"bench-{findings.server}-maintenance.svg",
            _drawing(f"list_events calls per second, {findings.version}", drivers, _of_maintenance(findings, drivers)),
        )


def _of_maintenance(findings: Findings, drivers: Sequence[str]) -> Rates:
    def rates(contender: Callable[[str], str]) -> list[float | None]:
        return [_rate(findings, bars.LISTED, contender(driver)) for driver in drivers]

    return {
        "papyra's own backend": rates(lambda _: bars.PAPYRA),
        "of a million entries": rates(lambda driver: driver),
        "of a thousand entries": rates(bars.few),
    }


def _of_writing(findings: Findings, drivers: Sequence[str]) -> Rates:
    contenders = (bars.FLOOR, bars.PAPYRA, *drivers, bars.MAKERS)
    return {each: [_rate(findings, measure, each) for measure in _MEASURES] for each in contenders}


def _of_reading(findings: Findings, drivers: Sequence[str]) -> Rates:
    def rates(contender: Callable[[str], str]) -> list[float | None]:
        return [_rate(findings, bars.HANDLED, contender(driver)) for driver in drivers]

    return {
        "papyra's own backend": rates(lambda _: bars.PAPYRA),
        "the bare client": rates(bars.bare),
        "process, lists": rates(lambda driver: driver),
        "process, singly": rates(bars.singly),
    }


def _drawing(title: str, groups: Sequence[str], rates: Rates) -> bytes:
    chart = pygal.HorizontalBar(
        style=_STYLE,
        title=title,
        logarithmic=True,
        print_values=True,
        margin_right=50,
        value_formatter=lambda rate: f"{rate:,.0f}" if rate else "",
        legend_at_bottom=True,
        legend_at_bottom_columns=len(rates),
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
    chart.x_labels = groups[::-1]
    for contender, of_contender in rates.items():
        if any(of_contender):
            chart.add(contender, of_contender[::-1])
    drawing: bytes = chart.render()
    return drawing


def _rate(findings: Findings, measure: str, contender: str) -> float | None:
    values = findings.samples.of(measure, contender, "rate")
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
