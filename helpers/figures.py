"""The book's theme, the colour of each activation, and the display of a figure with its words.

Chapters plot tidy frames with seaborn and hand the figure to `show`, or with Altair, where the reader is to turn
the dials, and hand the chart to `explore`. A figure is light on every page, so that one picture serves the light
and the dark site.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import math
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import altair
import matplotlib.pyplot as plt
import numpy as np
import seaborn
from altair.utils.html import spec_to_html
from IPython.display import display
from matplotlib.axes import Axes
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure

__all__ = [
    "DASHES",
    "EXPLORABLE",
    "HEALTHY",
    "INK",
    "LABELS",
    "MARKERS",
    "PALETTE",
    "PAPER",
    "REFERENCE",
    "THEORY",
    "explore",
    "label_lines",
    "show",
    "use_theme",
]

#: Background of every figure.
PAPER = "#fdfcf9"
#: Text and axes.
INK = "#22252b"

#: The colour of each activation, in every figure of the book. Each has a contrast of at least 3:1 on `PAPER`, and
#: those that appear together stay apart under simulated colour-vision deficiency.
PALETTE: dict[str, str] = {
    "identity": "#655d5b",
    "sigmoid": "#f25914",
    "tanh": "#025227",
    "softsign": "#00806b",
    "relu": "#495bdf",
    "leaky_relu": "#0b95f3",
    "prelu": "#0e5e8a",
    "rrelu": "#22968a",
    "elu": "#958e40",
    "selu": "#865114",
    "gelu": "#5d146c",
    "silu": "#3f2ab1",
    "mish": "#62366c",
    "softplus": "#ac74a9",
    "shifted_softplus": "#a632a6",
    "shifted_relu": "#8e1404",
    "relu_squared": "#796ace",
}

#: The dash pattern of each activation, for seaborn's ``dashes``: colour is never the only difference.
DASHES: dict[str, str | tuple[float, ...]] = {
    "identity": (1, 3),
    "sigmoid": (5, 1.5),
    "tanh": (1.5, 1),
    "softsign": (3, 1, 1, 1, 1, 1),
    "relu": "",
    "leaky_relu": (7, 1.5, 1.5, 1.5),
    "prelu": (3, 1),
    "rrelu": (1, 1),
    "elu": (5, 1, 1, 1),
    "selu": (5, 1, 2, 1),
    "gelu": (8, 2),
    "silu": (3, 2, 1, 2),
    "mish": (4, 1, 1, 1, 1, 1),
    "softplus": (2, 2),
    "shifted_softplus": (6, 1, 1, 1, 1, 1),
    "shifted_relu": (9, 1, 1, 1),
    "relu_squared": (10, 1.5),
}

#: The marker of each activation, for seaborn's ``markers``.
MARKERS: dict[str, str | tuple[int, int, int]] = {
    "identity": (4, 1, 45),
    "sigmoid": "s",
    "tanh": "^",
    "softsign": "<",
    "relu": "o",
    "leaky_relu": "D",
    "prelu": "v",
    "rrelu": "p",
    "elu": "h",
    "selu": "H",
    "gelu": "P",
    "silu": "8",
    "mish": ">",
    "softplus": "X",
    "shifted_softplus": "d",
    "shifted_relu": (5, 0, 0),
    "relu_squared": "*",
}

#: The name of each activation as the text of a figure writes it.
LABELS: dict[str, str] = {
    "identity": "identity",
    "sigmoid": "sigmoid",
    "tanh": "tanh",
    "softsign": "softsign",
    "relu": "ReLU",
    "leaky_relu": "Leaky ReLU",
    "prelu": "PReLU",
    "rrelu": "RReLU",
    "elu": "ELU",
    "selu": "SELU",
    "gelu": "GELU",
    "silu": "SiLU",
    "mish": "Mish",
    "softplus": "softplus",
    "shifted_softplus": "shifted softplus",
    "shifted_relu": "shifted ReLU",
    "relu_squared": "ReLU²",
}

#: A prediction over measured points: ``axes.plot(x, y, color=..., **THEORY)``.
THEORY: dict[str, Any] = {"linewidth": 1.2, "linestyle": (0, (4, 2.5)), "marker": "", "zorder": 2.5}
#: What a healthy network shows, as a line: ``axes.axhline(1, **REFERENCE)``.
REFERENCE: dict[str, Any] = {"color": "#8d8779", "linewidth": 1.0, "linestyle": (0, (1, 2)), "zorder": 1}
#: What a healthy network shows, as a band: ``axes.axhspan(0.5, 2, **HEALTHY)``.
HEALTHY: dict[str, Any] = {"color": "#8d8779", "alpha": 0.14, "linewidth": 0, "zorder": 0}

#: The form in which `explore` stores a chart. JupyterLab draws it by itself, without a network, with Vega-Lite 5; the
#: site and Colab draw it with version 6. So charts keep to what both draw alike.
EXPLORABLE = "application/vnd.vegalite.v5+json"
_SCHEMA = "https://vega.github.io/schema/vega-lite/v5.json"
_CHART_WIDTH = 680
_ROWS = 2000
_DIGITS = 3
_CHART_THEME: dict[str, Any] = {
    "background": PAPER,
    "padding": 10,
    "font": "system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif",
    "view": {"stroke": None},
    "title": {"anchor": "start", "color": INK, "fontSize": 15, "fontWeight": 700, "offset": 10},
    "axis": {
        "domainColor": "#a9a395",
        "gridColor": "#e9e5db",
        "labelColor": INK,
        "labelFontSize": 12,
        "labelOverlap": True,
        "tickColor": "#a9a395",
        "titleColor": INK,
        "titleFontSize": 13,
        "titleFontWeight": "normal",
    },
    "legend": {"labelColor": INK, "labelFontSize": 12, "titleColor": INK, "titleFontSize": 12},
    "line": {"strokeWidth": 2.2},
    "text": {"color": INK, "fontSize": 13},
}

_MAIN = ("relu", "sigmoid", "tanh", "gelu", "leaky_relu", "softplus")
_PIXELS_PER_INCH = 110
_RESOLUTION = 2
_TEXT_POINTS = 13  # ten pixels where a figure fills a phone of 375


def use_theme() -> None:
    """Set the look of every figure that follows: matplotlib's and seaborn's settings.

    Light paper, text that stays readable on a phone, titles at the left, a faint grid. It needs no font that
    matplotlib does not bring. Call it once, in the cell that imports.
    """
    seaborn.set_theme(
        context="notebook",
        style="whitegrid",
        font="DejaVu Sans",
        palette=[PALETTE[name] for name in _MAIN],
        rc={
            "figure.figsize": (6.2, 4.0),
            "figure.dpi": _PIXELS_PER_INCH,
            "figure.facecolor": PAPER,
            "figure.titlesize": 14,
            "figure.titleweight": "bold",
            "savefig.dpi": _PIXELS_PER_INCH * _RESOLUTION,
            "savefig.facecolor": PAPER,
            "font.size": _TEXT_POINTS,
            "mathtext.fontset": "dejavusans",
            "text.color": INK,
            "axes.facecolor": PAPER,
            "axes.edgecolor": "#a9a395",
            "axes.linewidth": 0.9,
            "axes.labelcolor": INK,
            "axes.labelsize": _TEXT_POINTS,
            "axes.titlelocation": "left",
            "axes.titlesize": 14,
            "axes.titleweight": "bold",
            "axes.titlepad": 10,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "grid.color": "#e9e5db",
            "grid.linewidth": 0.8,
            "xtick.color": INK,
            "ytick.color": INK,
            "xtick.labelsize": _TEXT_POINTS,
            "ytick.labelsize": _TEXT_POINTS,
            "legend.fontsize": _TEXT_POINTS,
            "legend.title_fontsize": _TEXT_POINTS,
            "legend.frameon": False,
            "lines.linewidth": 2.2,
            "lines.markersize": 7,
        },
    )


def show(figure: Figure, *, alt: str, caption: str) -> None:
    """Display a figure with its text alternative and its caption, and close it.

    The picture is a PNG of twice its nominal size, the same bytes for the same figure. The text alternative is
    its ``text/plain``: it is what a reader who cannot see the figure gets, on the site too, and what tests
    compare. So `alt` is written from the data, with numbers from `reporting.stated`.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
        A seaborn grid has its own under ``.figure``.
    alt : str
        What the figure shows, and the numbers that matter.
    caption : str
        Markdown that opens with ``**Figure``, as in "**Figure 2.1.** What to look at."

    Raises
    ------
    ValueError
        If `alt` or `caption` is empty, or the caption does not open with ``**Figure``.
    TypeError
        If `figure` is no figure, or `alt` or `caption` no string.
    """
    if not isinstance(figure, Figure):
        raise TypeError(
            f"show needs a matplotlib Figure, but was given {type(figure).__name__}; "
            "axes and seaborn grids keep theirs in .figure"
        )
    _check_words(alt, caption)
    _lay_out(figure)
    width, height = (round(inches * _PIXELS_PER_INCH) for inches in figure.get_size_inches())
    png = io.BytesIO()
    figure.savefig(
        png,
        format="png",
        dpi=_PIXELS_PER_INCH * _RESOLUTION,
        facecolor=figure.get_facecolor(),
        metadata={"Software": None},
    )
    plt.close(figure)
    display(
        {"image/png": base64.b64encode(png.getvalue()).decode("ascii"), "text/plain": alt},
        metadata={"image/png": {"width": width, "height": height}},
        raw=True,
    )
    _display_caption(caption)


def explore(chart: altair.TopLevelMixin, *, alt: str, caption: str) -> None:
    """Display an Altair chart with sliders and menus, in the book's theme, with its words and its caption.

    The chart works wherever the chapter is read: on the site, with no kernel and no network; in JupyterLab; in
    Colab. It carries its data with it, rounded to three significant digits. As in `show`, the text alternative is
    its ``text/plain``: what a reader who cannot see the chart gets, and what tests compare. A text mark in a layer
    named ``"readout"`` is also read out, on the site, whenever a control is moved.

    Parameters
    ----------
    chart : altair.Chart or altair.LayerChart
        Of one view. At least one of its parameters is bound to a control (``bind=altair.binding_range(...)``), each
        control has a ``name`` that says in words what it sets, and its data have at most 2000 rows.
    alt : str
        What the chart shows, in which state it opens, and the numbers that matter.
    caption : str
        Markdown that opens with ``**Figure``, as in "**Figure 2.1.** What to try."

    Raises
    ------
    ValueError
        If there is no control or one has no name, there are too many rows, the data lie at an address, or `alt` or
        `caption` is empty or the caption does not open with ``**Figure``.
    TypeError
        If `chart` is no Altair chart, or `alt` or `caption` no string.
    """
    if not isinstance(chart, altair.TopLevelMixin):
        raise TypeError(
            f"explore needs an Altair chart, but was given {type(chart).__name__}; figures.show takes "
            "matplotlib's figures"
        )
    _check_words(alt, caption)
    with altair.data_transformers.enable("default", max_rows=None):
        spec = chart.to_dict()
    _check_controls(spec)
    _check_data(spec)
    spec = _rounded(spec) | {
        "$schema": _SCHEMA,
        "description": alt,
        "width": _CHART_WIDTH,
        "autosize": {"type": "fit-x", "contains": "padding"},
        "config": _CHART_THEME
        | {key: value for key, value in spec.get("config", {}).items() if key != "view"},
    }
    form = {"text/html": _page(spec)} if "google.colab" in sys.modules else {EXPLORABLE: spec}
    display({**form, "text/plain": alt}, raw=True)
    _display_caption(caption)


def label_lines(axes: Axes, palette: Mapping[str, str] = PALETTE) -> None:
    """Write each line's name at the right end of what is seen of it, in its colour, and take the legend away.

    A line is known by its colour, so this works on whatever seaborn drew with that palette. Labels that would
    overlap are moved apart, with a thin rule back to their line. Call it last, when scales and labels are set.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
        The axes that hold the lines. With more than five lines, keep the legend.
    palette : mapping of str to colour, default PALETTE
        Name to colour, as given to seaborn. Activations are written as in `LABELS`, other names as they are. Of
        two lines of one colour, the first drawn is labelled.

    Raises
    ------
    ValueError
        If no line has a colour of the palette.
    """
    _lay_out(axes.figure)
    axes.figure.draw_without_rendering()
    names = {to_hex(colour): name for name, colour in palette.items()}
    ends: dict[str, np.ndarray] = {}
    for line in axes.get_lines():
        points = np.ma.filled(np.ma.asarray(line.get_xydata(), dtype=float), np.nan)
        pixels = axes.transData.transform(points)
        seen = ((pixels >= axes.bbox.min - 1) & (pixels <= axes.bbox.max + 1)).all(axis=1)
        name = names.get(to_hex(line.get_color()))
        if name is not None and seen.any():
            ends.setdefault(name, points[seen][np.argmax(pixels[seen, 0])])
    if not ends:
        raise ValueError(
            "label_lines found no line drawn in a colour of the palette; "
            f"give the palette that drew them (this one has {', '.join(palette)})"
        )
    heights = axes.transData.transform(np.array(list(ends.values())))[:, 1] * 72 / axes.figure.dpi
    top = axes.bbox.y1 * 72 / axes.figure.dpi
    shifts = _spread(heights, 1.25 * _TEXT_POINTS, top) - heights
    moved = np.abs(shifts) > _TEXT_POINTS / 2
    for (name, end), shift, is_moved in zip(ends.items(), shifts, moved, strict=True):
        rule = {"arrowstyle": "-", "color": palette[name], "linewidth": 0.8, "relpos": (0, 0.5), "shrinkB": 3}
        axes.annotate(
            LABELS.get(name, name),
            xy=tuple(end),
            xytext=(18 if moved.any() else 8, shift),
            textcoords="offset points",
            annotation_clip=False,
            verticalalignment="center",
            color=_text_colour(palette[name]),
            fontsize=_TEXT_POINTS,
            fontweight="bold",
            arrowprops=rule if is_moved else None,
        )
    if axes.get_legend() is not None:
        axes.get_legend().remove()


def _page(spec: dict[str, Any]) -> str:
    """Write the chart for Colab, which draws no other form than HTML; Vega comes from where Altair has it from."""
    name = f"explorable-{hashlib.sha256(json.dumps(spec, sort_keys=True).encode()).hexdigest()[:12]}"
    chart = spec_to_html(
        spec | {"width": "container"},
        mode="vega-lite",
        vega_version=altair.VEGA_VERSION,
        vegaembed_version=altair.VEGAEMBED_VERSION,
        vegalite_version=altair.VEGALITE_VERSION,
        fullhtml=False,
        output_div=name,
        template="universal",
        embed_options={"actions": False, "renderer": "svg"},
    )
    return f"{chart}\n<style>#{name}.vega-embed {{ display: block; font-family: sans-serif; }}</style>"


def _check_words(alt: str, caption: str) -> None:
    """Insist on a text alternative and on a caption that is numbered."""
    for name, text in (("alt", alt), ("caption", caption)):
        if not isinstance(text, str):
            raise TypeError(f"{name} must be a string, but was given {text!r}")
        if not text.strip():
            raise ValueError(f"{name} is empty; say in words what the figure shows")
    if not caption.startswith("**Figure"):
        raise ValueError(f"a caption opens with '**Figure 1.2.**', but was given {caption!r}")


def _display_caption(caption: str) -> None:
    """Show the caption under the figure, in a box of its own that the site styles."""
    display(
        {"text/markdown": f'<div class="figure-caption">\n\n{caption}\n\n</div>', "text/plain": caption},
        raw=True,
    )


def _check_controls(spec: Mapping[str, Any]) -> None:
    """Insist on controls, and on words for each."""
    bound = [parameter for parameter in spec.get("params", []) if isinstance(parameter.get("bind"), dict)]
    if not bound:
        raise ValueError(
            "the chart has no control; bind a parameter to one, as in altair.param(value=1, "
            "bind=altair.binding_range(min=0, max=2, name='weight scale')), or draw a figure and use show"
        )
    for parameter in bound:
        if not parameter["bind"].get("name"):
            raise ValueError(
                f"the control of {parameter['name']!r} has no words; give its binding a name= that says what it sets"
            )


def _check_data(spec: Mapping[str, Any]) -> None:
    """Insist that the data travel with the chart, and are few."""
    found = list(_data_of(spec))
    addresses = [data["url"] for data in found if "url" in data]
    if addresses:
        raise ValueError(
            f"the chart reads {addresses[0]!r}; give it a DataFrame, which it carries along, for a page "
            "makes no request"
        )
    inline = [data["values"] for data in found if isinstance(data.get("values"), list)]
    rows = sum(len(values) for values in [*spec.get("datasets", {}).values(), *inline])
    if rows > _ROWS:
        raise ValueError(
            f"the chart carries {rows} rows; at most {_ROWS} are accepted, for every reader loads them: "
            "take fewer settings of the controls, or summarise over seeds first"
        )


def _data_of(part: object) -> Iterator[dict[str, Any]]:
    """Give every ``data`` entry of a specification, at whatever depth."""
    if isinstance(part, dict):
        if isinstance(part.get("data"), dict):
            yield part["data"]
        for key, value in part.items():
            if key != "datasets":
                yield from _data_of(value)
    elif isinstance(part, list):
        for value in part:
            yield from _data_of(value)


def _rounded(part: Any) -> Any:
    """Give the same structure with every float at three significant digits, and null for what JSON has no number."""
    if isinstance(part, dict):
        return {key: _rounded(value) for key, value in part.items()}
    if isinstance(part, list):
        return [_rounded(value) for value in part]
    if isinstance(part, float):
        return float(f"{part:.{_DIGITS}g}") if math.isfinite(part) else None
    return part


def _lay_out(figure: Figure) -> None:
    """Let matplotlib make room for titles and labels, unless the figure (a seaborn grid) has seen to that."""
    if figure.get_layout_engine() is None and any(axes.get_subplotspec() for axes in figure.axes):
        figure.set_layout_engine("constrained")


def _spread(wanted: np.ndarray, gap: float, top: float) -> np.ndarray:
    """Move positions apart to at least `gap`: those that collide become one block around their mean.

    A block that would rise above `top`, where the title is, lies below it.
    """
    blocks: list[list[int]] = []
    centres: list[float] = []
    for index in np.argsort(wanted, kind="stable"):
        block, centre = [int(index)], float(wanted[index])
        while blocks and centre - centres[-1] < gap * (len(block) + len(blocks[-1])) / 2:
            block = blocks.pop() + block
            centres.pop()
            centre = float(wanted[block].mean())
        blocks.append(block)
        centres.append(centre)
    placed = np.empty(len(wanted))
    for block, centre in zip(blocks, centres, strict=True):
        placed[block] = centre + gap * (np.arange(len(block)) - (len(block) - 1) / 2)
    for index in np.argsort(placed, kind="stable")[::-1]:
        placed[index] = min(placed[index], top)
        top = placed[index] - gap
    return placed


def _text_colour(colour: str) -> tuple[float, ...]:
    """Darken a line's colour until its name can be read: contrast of 4.5:1 on `PAPER`."""
    return tuple(np.average([to_rgb(colour), to_rgb(INK)], axis=0, weights=[0.65, 0.35]))
