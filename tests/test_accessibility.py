"""The built pages as axe-core sees them: every page, light and dark, on a laptop and on a phone.

axe finds what can be found without judgement. What it cannot see, how a page is used, is in `test_browser.py`.
"""

import pytest
from axe_playwright_python.base import AXE_SCRIPT
from browsing import CHAPTERS, FIRST, LAPTOP, MODES, PAGES, PHONE
from playwright.sync_api import Page

EVERYTHING = {
    "type": "tag",
    "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
}
# all that a change of colours can break
COLOURS = {"type": "rule", "values": ["color-contrast", "link-in-text-block"]}

# axe weighs every word of a chapter's code by itself, for minutes: one word of each colour, size and box says what
# all of them say, and the others become plain text.
ONE_OF_EACH = """() => {
    for (const fold of document.querySelectorAll("details")) fold.open = true;
    const kinds = new Set(), again = [];
    for (const word of document.querySelectorAll("pre span:not(:has(*))")) {
        const {color, fontWeight, fontSize, backgroundColor} = getComputedStyle(word);
        const box = word.closest("div.cell_input, div.cell_output, div.highlight")?.className;
        const kind = [color, fontWeight, fontSize, backgroundColor, box, word.parentElement.className].join();
        if (kinds.has(kind)) again.push(word); else kinds.add(kind);
    }
    for (const word of again) word.replaceWith(word.textContent);
}"""
RUN = """async rules => {
    const options = {runOnly: rules, resultTypes: ["violations"]};
    if (rules.type === "tag") options.rules = {"target-size": {enabled: true}}; // of WCAG 2.2, and off by default
    const {violations} = await axe.run(options);
    return violations.flatMap(({id, nodes}) => nodes.map(
        ({target, html, failureSummary}) => `${id} at ${target.flat().join(" ")}: ${html} ${failureSummary}`
    ));
}"""


def barriers(page: Page, rules: dict = EVERYTHING) -> list[str]:
    """What axe objects to in a page as it stands, with all that is folded opened."""
    page.evaluate(ONE_OF_EACH)
    if page.evaluate("() => window.axe === undefined"):
        page.evaluate(AXE_SCRIPT)
    return page.evaluate(RUN, rules)


def darken(page: Page) -> None:
    """Change to the dark mode, as the theme's button does."""
    page.evaluate("() => { document.documentElement.dataset.theme = 'dark' }")


def in_both_modes(page: Page) -> list[str]:
    """The barriers of a page that was opened light, and those that the dark adds."""
    found = barriers(page)
    darken(page)
    return found + [f"dark: {barrier}" for barrier in barriers(page, COLOURS)]


# Two classes, since pytest-xdist gives a class to one process.
class TestLaptop:
    @pytest.mark.parametrize("path", PAGES)
    def test_axe_finds_no_barrier(self, visit, path):
        assert in_both_modes(visit(path, width=LAPTOP).page) == []


class TestPhone:
    @pytest.mark.parametrize("path", PAGES)
    def test_axe_finds_no_barrier(self, visit, path):
        assert in_both_modes(visit(path, width=PHONE).page) == []


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("width", "button", "opened"),
    [
        (LAPTOP, ".search-button-field", "#pst-search-dialog"),
        (LAPTOP, ".dropdown-source-buttons > button", ".dropdown-source-buttons > .dropdown-menu"),
        (LAPTOP, ".dropdown-download-buttons > button", ".dropdown-download-buttons > .dropdown-menu"),
        (LAPTOP, ".dropdown-launch-buttons > button", ".dropdown-launch-buttons > .dropdown-menu"),
        (PHONE, ".primary-toggle", "#pst-primary-sidebar-modal"),
        (PHONE, ".secondary-toggle", "#pst-secondary-sidebar-modal"),
    ],
)
def test_axe_finds_no_barrier_in_what_a_button_opens(visit, width, button, opened, mode):
    page = visit(CHAPTERS[0], width=width, mode=mode).page
    page.locator("article section section > :not(h2)").evaluate_all(
        "parts => parts.forEach(part => part.remove())"
    )
    page.locator(button).click()
    page.locator(opened).wait_for()
    assert barriers(page) == []


@pytest.mark.parametrize(
    ("rule", "markup"),
    [
        ("color-contrast", '<p style="color: #bbb; background: #fff">Pale</p>'),
        (
            "color-contrast",
            '<div class="highlight"><pre style="background: #777"><span>word</span></pre></div>',
        ),
        ("image-alt", '<img src="../_static/logo.svg">'),
        ("heading-order", "<h2>High</h2><h5>Deep</h5>"),
        ("region", '</main><p style="position: fixed; top: 0">Nowhere</p>'),
        (
            "target-size",
            '<button style="all: unset; width: 9px; height: 9px" aria-label="Small"></button>' * 2,
        ),
        (
            "scrollable-region-focusable",
            f'<p style="overflow: scroll; height: 2em; width: 9em">{"wide " * 99}</p>',
        ),
    ],
)
def test_axe_sees_a_barrier(visit, rule, markup):
    page = visit(FIRST).page
    where = "body" if "</main>" in markup else "article"
    page.evaluate(
        "([where, markup]) => document.querySelector(where).insertAdjacentHTML('beforeend', markup)",
        [where, markup],
    )
    assert {barrier.split(" at ")[0] for barrier in barriers(page)} == {rule}


def test_axe_sees_a_barrier_of_the_dark_alone(visit):
    page = visit(FIRST).page
    page.add_style_tag(content="html[data-theme=dark] article p { color: #333 !important }")
    assert barriers(page, COLOURS) == []
    darken(page)
    assert barriers(page, COLOURS) != []
