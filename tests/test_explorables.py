"""The charts that a reader can turn, on the built pages, in a real Chromium: by mouse, touch and keyboard, offline.

`make test` builds the site first. These tests take every chapter's charts as the notebooks store them.
"""

import json
import re
from functools import cache
from pathlib import Path

import nbformat
import pytest
from browsing import CHAPTERS, LAPTOP, MODES, PHONE, SITE, Visit
from bs4 import BeautifulSoup
from matplotlib.colors import to_hex
from playwright.sync_api import Locator, Page, expect

from helpers.figures import EXPLORABLE, PAPER

ROOT = Path(__file__).parents[1]
# What is drawn, without what differs from one drawing of the same data to the next.
DRAWN = "stage => stage.querySelector('svg').innerHTML.replaceAll(/clip\\d+/g, '')"

#: For each kind of control, its role and a key that changes it.
KEYS = {
    "range": ("slider", "ArrowRight"),
    "select": ("combobox", "ArrowDown"),
    "radio": ("radiogroup", "ArrowRight"),
    "checkbox": ("checkbox", "Space"),
}


@cache
def stored(path: str) -> list[dict]:
    """The charts of a chapter with their words, as its notebook has them."""
    notebook = nbformat.read((ROOT / path).with_suffix(".ipynb"), as_version=4)
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return [output["data"] for output in outputs if EXPLORABLE in output.get("data", {})]


@cache
def shown(path: str) -> list:
    """The same as the page has them."""
    page = BeautifulSoup((SITE / path).read_text(encoding="utf-8"), "html.parser")
    return page.select("figure.explorable")


def come_to(page: Page, number: int = 0) -> Locator:
    """Scroll to an explorable and wait until it is alive."""
    figure = page.locator("figure.explorable").nth(number)
    figure.scroll_into_view_if_needed()
    expect(figure).to_have_class(re.compile(r"\blive\b"))
    return figure


def drawn(figure: Locator) -> str:
    return figure.locator(".explorable-stage").evaluate(DRAWN)


def expect_redrawn(figure: Locator, before: str) -> None:
    """Wait until the chart differs from what it was."""
    figure.page.wait_for_function(
        f"([stage, before]) => ({DRAWN})(stage) !== before",
        arg=[figure.locator(".explorable-stage").element_handle(), before],
    )


def asked_for_vega(opened: Visit) -> bool:
    return any(answer.url.split("?")[0].endswith("/vega.js") for answer in opened.responses)


EACH = [(path, number) for path in CHAPTERS for number in range(len(stored(path)))]


def test_every_chapter_has_an_explorable():
    assert {path for path, _ in EACH} == set(CHAPTERS)


@pytest.mark.parametrize("path", CHAPTERS)
def test_the_page_holds_the_charts_that_the_chapter_computed(path):
    charts = [json.loads(figure.find("script").string) for figure in shown(path)]
    assert [chart["datasets"] for chart in charts] == [form[EXPLORABLE]["datasets"] for form in stored(path)]
    assert [chart["params"] for chart in charts] == [form[EXPLORABLE]["params"] for form in stored(path)]


@pytest.mark.parametrize("path", CHAPTERS)
def test_a_still_picture_with_the_chart_s_words_stands_in_for_it(path):
    pictures = [figure.find("img") for figure in shown(path)]
    assert [picture["alt"] for picture in pictures] == [
        " ".join(form["text/plain"].split()) for form in stored(path)
    ]
    for picture in pictures:
        assert ((SITE / path).parent / picture["src"]).resolve().is_file()


@pytest.mark.parametrize("width", [LAPTOP, PHONE])
@pytest.mark.parametrize(("path", "number"), EACH)
def test_a_chart_comes_alive_when_the_reader_comes_to_it_and_not_before(visit, path, number, width):
    opened = visit(path, width=width)
    assert not asked_for_vega(opened)
    figure = come_to(opened.page, number)
    assert asked_for_vega(opened)
    expect(figure.locator("svg")).to_be_visible()
    expect(figure.locator(".explorable-view > img")).to_have_count(0)
    inside = figure.evaluate("figure => figure.scrollWidth <= figure.clientWidth + 1")
    assert inside, "the chart is wider than its place"
    assert opened.problems == []


@pytest.mark.parametrize(("path", "number"), EACH)
def test_a_chart_fills_a_phone_and_takes_the_room_that_was_kept_for_it(visit, path, number):
    figure = come_to(visit(path, width=PHONE).page, number)
    plot = figure.locator("svg path.background").first.bounding_box()
    assert plot["width"] > figure.bounding_box()["width"] / 2
    for part in (".explorable-view", ".explorable-words"):
        taken, kept = figure.locator(part).evaluate(
            "part => [part.scrollHeight, parseFloat(getComputedStyle(part).minHeight)]"
        )
        assert taken <= kept + 1, part
    if figure.locator(".readout_marks").count():
        expect(figure.locator(".explorable-words")).not_to_be_empty()


@pytest.mark.parametrize(("path", "number"), EACH)
def test_every_control_of_a_chart_is_named_and_moves_it_by_keyboard(visit, path, number):
    figure = come_to(visit(path).page, number)
    bound = [
        parameter["bind"] for parameter in stored(path)[number][EXPLORABLE]["params"] if "bind" in parameter
    ]
    for bind in bound:
        role, key = KEYS[bind["input"]]
        control = figure.get_by_role(role, name=bind["name"])
        expect(control).to_be_visible()
        before = drawn(figure)
        (control.locator("input:checked") if role == "radiogroup" else control).press(key)
        expect_redrawn(figure, before)


@pytest.mark.parametrize(("path", "number"), EACH)
def test_a_chart_is_moved_by_touch_on_a_phone(visit, path, number):
    figure = come_to(visit(path, width=PHONE).page, number)
    for control in figure.locator("input[type=range], input[type=radio]:not(:checked)").all():
        before = drawn(figure)
        control.tap()
        control.scroll_into_view_if_needed()
        if control.get_attribute("type") == "range":
            box = control.bounding_box()
            figure.page.touchscreen.tap(box["x"] + 0.9 * box["width"], box["y"] + box["height"] / 2)
        expect_redrawn(figure, before)


@pytest.mark.parametrize(("path", "number"), EACH)
def test_what_the_chart_says_is_read_out_when_it_changes(visit, path, number):
    figure = come_to(visit(path).page, number)
    if figure.locator(".readout_marks").count() == 0:
        pytest.skip("this chart has no sentence to read out")
    said = figure.locator("[aria-live=polite]")
    expect(said).to_be_empty()
    first = figure.locator(".readout_marks").text_content()
    control = figure.locator("input:not(:checked)").first
    if control.get_attribute("type") == "radio":
        control.check()  # an arrow key would lead on, from the last one back to the first
    else:
        control.press("ArrowRight")
    expect(said).not_to_be_empty()
    assert said.text_content() == figure.locator(".readout_marks").text_content() != first


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("path", "number"), EACH)
def test_a_chart_lies_on_light_paper_in_both_modes(visit, path, number, mode):
    figure = come_to(visit(path, mode=mode).page, number)
    paper = figure.locator("svg").first.evaluate("svg => getComputedStyle(svg).backgroundColor")
    assert to_hex([int(part) / 255 for part in re.findall(r"\d+", paper)[:3]]) == PAPER
    behind = figure.evaluate("figure => getComputedStyle(figure.closest('.output')).backgroundColor")
    assert behind == "rgba(0, 0, 0, 0)"


@pytest.mark.parametrize("path", CHAPTERS)
def test_a_chart_works_in_a_page_that_is_opened_as_a_file(visit, path):
    opened = visit(path)
    opened.page.goto((SITE / path).as_uri())
    figure = come_to(opened.page)
    expect(figure.locator("svg")).to_be_visible()


@pytest.mark.parametrize("path", CHAPTERS)
def test_without_vega_the_still_picture_stays(visit, path):
    page = visit(path).page
    page.context.route("**/vega.js*", lambda route: route.abort())
    page.reload()
    figure = page.locator("figure.explorable").first
    with page.expect_console_message(lambda said: "could not be loaded" in said.text):
        figure.scroll_into_view_if_needed()
    expect(figure.locator(".explorable-view > img")).to_be_visible()


@pytest.mark.parametrize("path", CHAPTERS)
def test_on_paper_a_chart_is_there_and_its_controls_are_not(visit, path):
    page = visit(path).page
    figure = come_to(page)
    page.emulate_media(media="print")
    expect(figure.locator("svg")).to_be_visible()
    expect(figure.locator(".vega-bindings")).to_be_hidden()
