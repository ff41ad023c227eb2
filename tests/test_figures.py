import base64
import io
import itertools
import struct
import sys
from pathlib import Path

import altair
import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import seaborn
from matplotlib import font_manager
from matplotlib.colors import to_hex, to_rgb
from matplotlib.text import Annotation

from helpers import activations, figures

# Machado, Oliveira & Fernandes 2009, severity 1.0: linear RGB as seen without one kind of cone.
DEFICIENCIES = {
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}
MAIN = ["sigmoid", "tanh", "relu", "leaky_relu", "gelu", "softplus"]


@pytest.fixture(autouse=True)
def theme():
    plt.switch_backend("Agg")
    with mpl.rc_context():
        figures.use_theme()
        yield
    plt.close("all")


@pytest.fixture
def displayed(monkeypatch):
    outputs = []
    monkeypatch.setattr(figures, "display", lambda data, **options: outputs.append((data, options)))
    return outputs


def linear(colour):
    rgb = np.array(to_rgb(colour))
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


def contrast(colour):
    """Of a colour on the paper, as WCAG 2 defines it."""
    luminances = sorted((linear(c) @ [0.2126, 0.7152, 0.0722] for c in (colour, figures.PAPER)), reverse=True)
    return (luminances[0] + 0.05) / (luminances[1] + 0.05)


def oklab(rgb):
    """Of linear RGB: Euclidean distances are perceptual, and about 0.02 can just be noticed."""
    cones = [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
    axes = [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
    return np.array(axes) @ np.cbrt(np.array(cones) @ np.clip(rgb, 0, 1))


def distance(one, other, deficiency):
    seen = np.eye(3) if deficiency is None else np.array(DEFICIENCIES[deficiency])
    return np.linalg.norm(oklab(seen @ linear(one)) - oklab(seen @ linear(other)))


def test_the_simulation_of_deficiencies_keeps_greys_and_mixes_what_it_should():
    for deficiency, matrix in DEFICIENCIES.items():
        assert np.allclose(np.sum(matrix, axis=1), 1, atol=1e-5), deficiency
    assert distance("#a06000", "#708000", None) > 0.1 > 2 * distance("#a06000", "#708000", "deuteranopia")


@pytest.mark.parametrize("names", [figures.PALETTE, figures.DASHES, figures.MARKERS, figures.LABELS])
def test_every_activation_has_a_colour_a_dash_a_marker_and_a_label_of_its_own(names):
    assert list(names) == list(activations.NAMES)
    assert len(set(names.values())) == len(names)


@pytest.mark.parametrize("name", activations.NAMES)
def test_every_line_and_its_label_stand_out_from_the_paper(name):
    assert contrast(figures.PALETTE[name]) >= 3
    _, axes = plt.subplots()
    axes.plot([0, 1], [0, 1], color=figures.PALETTE[name])
    figures.label_lines(axes)
    assert contrast(axes.texts[0].get_color()) >= 4.5


@pytest.mark.parametrize("deficiency", [None, *DEFICIENCIES])
def test_colours_stay_apart_under_colour_vision_deficiency(deficiency):
    for one, other in itertools.combinations(activations.NAMES, 2):
        least = 0.09 if {one, other} <= set(MAIN) else 0.04
        assert distance(figures.PALETTE[one], figures.PALETTE[other], deficiency) > least, (one, other)


def test_seaborn_takes_palette_dashes_and_markers_as_they_are():
    frame = pd.DataFrame(
        [(name, x, i) for i, name in enumerate(activations.NAMES) for x in range(3)],
        columns=["activation", "x", "y"],
    )
    axes = seaborn.lineplot(
        frame,
        x="x",
        y="y",
        hue="activation",
        style="activation",
        palette=figures.PALETTE,
        dashes=figures.DASHES,
        markers=figures.MARKERS,
    )
    drawn = {
        line.get_ydata()[0]: to_hex(line.get_color()) for line in axes.get_lines() if len(line.get_ydata())
    }
    assert drawn == dict(enumerate(figures.PALETTE.values()))


def test_the_styles_of_theory_and_of_healthy_values_are_matplotlib_arguments():
    _, axes = plt.subplots()
    axes.plot([0, 1], [0, 1], color="k", **figures.THEORY)
    axes.axhline(1, **figures.REFERENCE)
    axes.axhspan(0.5, 2, **figures.HEALTHY)
    assert axes.get_lines()[0].is_dashed()


def test_the_theme_uses_a_font_that_matplotlib_brings():
    font = font_manager.findfont(font_manager.FontProperties(family=mpl.rcParams["font.family"]))
    assert Path(font).is_relative_to(mpl.get_data_path())


def plot(title="A title"):
    figure, axes = plt.subplots()
    axes.plot([0, 1], [0, 1])
    axes.set(title=title, xlabel="x", ylabel="a label of two\nlines")
    return figure


def test_show_displays_the_picture_with_its_words_and_then_the_caption(displayed):
    figures.show(plot(), alt="A line rises.", caption="**Figure 1.1.** Look at the line.")
    (picture, options), (caption, _) = displayed
    assert picture["text/plain"] == "A line rises."
    assert set(picture) == {"image/png", "text/plain"}
    assert options["raw"] is True
    assert caption["text/plain"] == "**Figure 1.1.** Look at the line."
    assert caption["text/markdown"].split("\n\n")[1] == "**Figure 1.1.** Look at the line."


def test_the_picture_has_twice_the_size_at_which_it_is_shown(displayed):
    figures.show(plot(), alt="A line.", caption="**Figure 1.1.** A line.")
    picture, options = displayed[0]
    width, height = struct.unpack(">II", base64.b64decode(picture["image/png"])[16:24])
    size = options["metadata"]["image/png"]
    assert (size["width"], size["height"]) == (682, 440)
    assert (width, height) == (1364, 880)


def test_the_same_figure_gives_the_same_bytes_with_no_stamp_in_them(displayed):
    for _ in range(2):
        figures.show(plot(), alt="A line.", caption="**Figure 1.1.** A line.")
    first, second = (base64.b64decode(displayed[i][0]["image/png"]) for i in (0, 2))
    assert first == second
    assert b"tEXt" not in first


def test_a_picture_is_on_opaque_paper_and_nothing_is_cut_off(displayed):
    figures.show(plot(), alt="A line.", caption="**Figure 1.1.** A line.")
    image = plt.imread(io.BytesIO(base64.b64decode(displayed[0][0]["image/png"])))
    edge = np.concatenate([image[:2].reshape(-1, 4), image[-2:].reshape(-1, 4), image[:, :2].reshape(-1, 4)])
    assert np.allclose(edge, [*to_rgb(figures.PAPER), 1], atol=1 / 255)


def test_a_shown_figure_is_closed_so_that_no_backend_shows_it_again(displayed):
    figure = plot()
    figures.show(figure, alt="A line.", caption="**Figure 1.1.** A line.")
    assert not plt.fignum_exists(figure.number)


def test_a_seaborn_grid_can_be_shown(displayed):
    frame = pd.DataFrame({"x": [0, 1, 0, 1], "y": [0, 1, 1, 0], "arm": ["a", "a", "b", "b"]})
    grid = seaborn.relplot(frame, x="x", y="y", col="arm", hue="arm", kind="line")
    figures.show(grid.figure, alt="Two panels.", caption="**Figure 1.1.** Two panels.")
    assert len(displayed) == 2


WORDS_THAT_ARE_REFUSED = pytest.mark.parametrize(
    ("words", "error", "message"),
    [
        ({"alt": " "}, ValueError, "alt is empty; say in words what the figure shows"),
        ({"caption": ""}, ValueError, "caption is empty"),
        ({"caption": "Figure 1.1. A line."}, ValueError, r"a caption opens with '\*\*Figure 1.2.\*\*'"),
        ({"alt": None}, TypeError, "alt must be a string, but was given None"),
        ({"caption": 3}, TypeError, "caption must be a string, but was given 3"),
    ],
)


@WORDS_THAT_ARE_REFUSED
def test_show_insists_on_words(displayed, words, error, message):
    with pytest.raises(error, match=message):
        figures.show(plot(), **{"alt": "A line.", "caption": "**Figure 1.1.** A line.", **words})
    assert displayed == []


def test_show_wants_a_figure():
    with pytest.raises(TypeError, match=r"needs a matplotlib Figure, but was given Axes; .* in \.figure"):
        figures.show(plot().axes[0], alt="A line.", caption="**Figure 1.1.** A line.")


WORDS = {"alt": "Gradient by layer, for a depth that can be set.", "caption": "**Figure 1.2.** Turn it."}


def dial(rows=3, *, bound=True, name="Depth", url=None):
    """A chart with one slider."""
    frame = pd.DataFrame({"depth": range(rows), "size": 1 / (3.0 + np.arange(rows)), "gone": np.nan})
    bind = altair.binding_range(min=0, max=rows, step=1, **({"name": name} if name else {}))
    depth = altair.param(name="depth", value=1, **({"bind": bind} if bound else {}))
    chart = altair.Chart(url or frame).mark_point().encode(x="depth:Q", y="size:Q", tooltip="gone:Q")
    return chart.add_params(depth)


def explored(displayed, chart, **words):
    figures.explore(chart, **{**WORDS, **words})
    return displayed[0][0][figures.EXPLORABLE]


def test_explore_displays_the_chart_with_its_words_and_then_the_caption(displayed):
    figures.explore(dial(), **WORDS)
    (chart, options), (caption, _) = displayed
    assert chart["text/plain"] == WORDS["alt"]
    assert set(chart) == {figures.EXPLORABLE, "text/plain"}
    assert options["raw"] is True
    assert caption["text/plain"] == WORDS["caption"]


def test_an_explorable_describes_itself_and_is_as_wide_as_a_figure(displayed):
    spec = explored(displayed, dial())
    assert spec["description"] == WORDS["alt"]
    assert spec["width"] == 680
    assert spec["config"]["background"] == figures.PAPER


def test_an_explorable_carries_its_data_with_three_digits_and_no_nan(displayed):
    (rows,) = explored(displayed, dial())["datasets"].values()
    assert rows[1] == {"depth": 1, "size": 0.25, "gone": None}
    assert rows[0]["size"] == 0.333


def test_the_same_explorable_is_stored_as_the_same_text(displayed):
    for _ in range(2):
        figures.explore(dial(), **WORDS)
    assert displayed[0] == displayed[2]


def test_colab_which_draws_html_alone_gets_html_and_where_vega_is(displayed, monkeypatch):
    monkeypatch.setitem(sys.modules, "google.colab", object())
    for _ in range(2):
        figures.explore(dial(), **WORDS)
    chart, again = displayed[0][0], displayed[2][0]
    assert chart == again
    assert set(chart) == {"text/html", "text/plain"}
    assert "0.333" in chart["text/html"]
    assert f"vega-lite@{altair.VEGALITE_VERSION}" in chart["text/html"]


def test_a_setting_of_the_chart_wins_over_the_theme(displayed):
    spec = explored(displayed, dial().configure_line(strokeWidth=9))
    assert spec["config"]["line"] == {"strokeWidth": 9}
    assert spec["config"]["axis"]["labelFontSize"] == 12


def test_two_thousand_rows_are_accepted_and_one_more_is_not(displayed):
    assert explored(displayed, dial(2000))
    with pytest.raises(
        ValueError, match=r"the chart carries 2001 rows; at most 2000 .* summarise over seeds"
    ):
        figures.explore(dial(2001), **WORDS)


def test_rows_are_counted_where_a_chart_has_several_layers(displayed):
    with pytest.raises(ValueError, match="the chart carries 3000 rows"):
        figures.explore(altair.layer(dial(1501, bound=False), dial(1499)), **WORDS)


def test_rows_that_a_chart_holds_itself_are_counted_too(displayed):
    rows = altair.InlineData(values=[{"depth": 1, "size": 2}] * 2001)
    with pytest.raises(ValueError, match="the chart carries 2001 rows"):
        figures.explore(dial(url=rows), **WORDS)


@pytest.mark.parametrize(
    ("chart", "error", "message"),
    [
        (dial(bound=False), ValueError, "the chart has no control; bind a parameter to one, .* use show"),
        (dial(name=None), ValueError, "the control of 'depth' has no words; give its binding a name="),
        (
            dial(url="https://data.example/a.csv"),
            ValueError,
            "reads 'https://data.example/a.csv'; give it a Data",
        ),
        ("chart", TypeError, "explore needs an Altair chart, but was given str"),
    ],
)
def test_explore_says_what_it_needs(displayed, chart, error, message):
    with pytest.raises(error, match=message):
        figures.explore(chart, **WORDS)
    assert displayed == []


@WORDS_THAT_ARE_REFUSED
def test_explore_insists_on_words(displayed, words, error, message):
    with pytest.raises(error, match=message):
        figures.explore(dial(), **WORDS | words)
    assert displayed == []


def boxes(axes):
    """The rectangles that the labels' texts cover, in pixels."""
    axes.figure.canvas.draw()
    return [super(Annotation, text).get_window_extent() for text in axes.texts]


def test_a_label_stands_at_the_right_end_of_its_line():
    _, axes = plt.subplots()
    axes.plot([0, 1, 2], [5, 5, 1], color=figures.PALETTE["relu"])
    axes.plot([0, 1, 2], [5, 5, 9], color=figures.PALETTE["sigmoid"])
    axes.plot([0, 1, 2], [5, 5, np.nan], color=figures.PALETTE["tanh"])
    figures.label_lines(axes)
    assert {text.get_text(): text.xy for text in axes.texts} == {
        "ReLU": (2, 1),
        "sigmoid": (2, 9),
        "tanh": (1, 5),
    }
    box = boxes(axes)[0]
    x, y = axes.transData.transform((2, 1))
    assert x < box.x0 < x + 20
    assert box.y0 < y < box.y1


def test_labels_follow_an_axis_that_is_turned_round():
    _, axes = plt.subplots()
    axes.plot([0, 1, 2], [5, 5, 1], color=figures.PALETTE["relu"])
    axes.invert_xaxis()
    figures.label_lines(axes)
    assert axes.texts[0].xy == (0, 5)


def test_labels_of_lines_that_meet_do_not_overlap():
    _, axes = plt.subplots()
    for i, name in enumerate(MAIN):
        axes.plot([0, 1], [10.0**-i, 1 + i / 100], color=figures.PALETTE[name], label=name)
    axes.set_yscale("log")
    axes.legend()
    figures.label_lines(axes)
    placed = sorted(boxes(axes), key=lambda box: box.y0)
    assert len(placed) == 6
    assert all(below.y1 <= above.y0 for below, above in itertools.pairwise(placed))
    assert [text.arrow_patch is not None for text in axes.texts].count(True) == 5, "one lies at its line"
    assert axes.get_legend() is None


def test_labels_stay_below_the_title():
    _, axes = plt.subplots()
    for name in MAIN:
        axes.plot([0, 1], [0, 1], color=figures.PALETTE[name])
    axes.set(ylim=(0, 1), title="A title that the labels must not run into, long as it is")
    figures.label_lines(axes)
    title = axes.title.get_window_extent()
    assert max(box.y1 for box in boxes(axes)) < title.y0


def test_labels_with_room_stay_where_they_are_and_have_no_rule():
    _, axes = plt.subplots()
    for i, name in enumerate(MAIN):
        axes.plot([0, 1], [0, i], color=figures.PALETTE[name])
    figures.label_lines(axes)
    assert all(text.arrow_patch is None for text in axes.texts)
    assert all(abs(text.xyann[1]) < 1e-9 for text in axes.texts)


def test_a_line_that_leaves_the_axes_is_labelled_where_it_was_last_seen():
    _, axes = plt.subplots()
    axes.plot([0, 1, 2, 3], [1, 2, 3, 400], color=figures.PALETTE["relu"])
    axes.set_ylim(0, 10)
    figures.label_lines(axes)
    assert axes.texts[0].xy == (2, 3)


def test_labels_of_other_arms_are_written_as_they_are_given():
    _, axes = plt.subplots()
    axes.plot([0, 1], [0, 1], color="C0")
    figures.label_lines(axes, {"with clipping": "C0"})
    assert axes.texts[0].get_text() == "with clipping"


def test_labels_of_no_line_are_an_error():
    _, axes = plt.subplots()
    axes.plot([0, 1], [0, 1], color="k")
    with pytest.raises(
        ValueError, match=r"no line drawn in a colour of the palette; .*\(this one has clipped\)"
    ):
        figures.label_lines(axes, {"clipped": "#123456"})
