"""The built pages as they are used, in a real Chromium: offline, by keyboard, on a phone, in the dark, on paper.

`make test` builds the site first. What axe-core finds in the same pages is in `test_accessibility.py`.
"""

import re
from functools import cache
from itertools import pairwise

import pytest
from browsing import CHAPTERS, FIRST, LAPTOP, PAGES, PHONE, READ_TO_THE_END, SITE
from bs4 import BeautifulSoup
from playwright.sync_api import Page, expect

MOST_AT_FIRST = 1_500_000  # bytes of a chapter's first view, as gzip sends it

# What the keyboard should reach, in the order of the page; of radio buttons, one a group. On the way come boxes that
# scroll, which current browsers let in of themselves, and links of the contents that unfold with the section read.
STOPS = """() => {
    const able = "a[href], button, input, select, textarea, summary, [tabindex], [contenteditable]";
    const shown = {visibilityProperty: true, opacityProperty: false};
    const groups = new Set();
    const stops = [...document.querySelectorAll(able)].filter(stop => {
        if (stop.tabIndex < 0 || stop.disabled || !stop.checkVisibility(shown)) return false;
        if (stop.type !== "radio") return true;
        const group = [...document.getElementsByName(stop.name)];
        return stop === (group.find(one => one.checked) ?? group[0]);
    });
    stops.forEach((stop, place) => { stop.dataset.stop = place; });
    window.atRest = stops.map(stop => getComputedStyle(stop).boxShadow);
    return stops.map(stop => stop.outerHTML.slice(0, 160));
}"""
FOCUSED = """() => {
    const at = document.activeElement;
    if (at === document.body) return null;
    const {outlineStyle, outlineWidth, outlineColor, boxShadow} = getComputedStyle(at);
    const box = at.getClientRects()[0] ?? at.getBoundingClientRect();
    const middle = (low, high, end) => (Math.max(low, 0) + Math.min(high, end)) / 2;
    const x = middle(box.left, box.right, innerWidth), y = middle(box.top, box.bottom, innerHeight);
    const hit = document.elementFromPoint(x, y);
    return {
        stop: at.dataset.stop === undefined ? null : Number(at.dataset.stop),
        what: at.outerHTML.slice(0, 160),
        use: at.matches("a, button, input, select, textarea, summary")
            || at.scrollWidth > at.clientWidth || at.scrollHeight > at.clientHeight,
        outlined: (outlineStyle !== "none" && parseFloat(outlineWidth) >= 1 && !/, 0\\)$/.test(outlineColor))
            || boxShadow !== window.atRest[at.dataset.stop],
        seen: hit !== null && (at.contains(hit) || hit.contains(at)),
    };
}"""
MOVING = """() => [...document.querySelectorAll("*")].filter(element => [null, "::before", "::after"].some(part => {
    const style = getComputedStyle(element, part);
    const long = times => times.split(",").some(time => parseFloat(time) > 0.01);
    return style.scrollBehavior === "smooth" || long(style.transitionDuration)
        || (style.animationName !== "none" && long(style.animationDuration));
})).map(element => element.outerHTML.slice(0, 120))"""
SHIFTS = """
    window.shifts = [];
    new PerformanceObserver(list => {
        for (const {value, sources} of list.getEntries())
            shifts.push([value, ...sources.map(({node}) => node?.outerHTML?.slice(0, 120) ?? node?.nodeName)]);
    }).observe({type: "layout-shift", buffered: true});
"""
OVERFLOWING = """() => [...document.querySelectorAll("article *")].filter(element => {
    const box = element.getBoundingClientRect();
    if (!element.checkVisibility() || box.width <= 1 || box.right <= innerWidth + 1) return false;
    for (let around = element.parentElement; around; around = around.parentElement)
        if (getComputedStyle(around).overflowX !== "visible") return false;
    return true;
}).map(element => element.outerHTML.slice(0, 160))"""
# The theme gives each page a second title, for paper.
HEADINGS = ", ".join(f"main h{level}:not(#jb-print-docs-body *)" for level in range(1, 7))

SCROLLING = """() => [...document.querySelectorAll("article *")].filter(box => box.checkVisibility()
    && box.scrollWidth > box.clientWidth + 1 && /auto|scroll/.test(getComputedStyle(box).overflowX))"""

PAPER = 900  # pixels of height on a page of A4, less its margins
# What the end of a page could cut: all that fits on one and that nothing holds together.
CUT = """height => {
    const held = part => part.tagName !== "ARTICLE"
        && (getComputedStyle(part).breakInside === "avoid" || held(part.parentElement));
    return [...document.querySelectorAll("article :is(img, table, pre, .admonition, div.math)")]
        .filter(part => part.checkVisibility() && part.offsetHeight <= height && !held(part))
        .map(part => part.outerHTML.slice(0, 160));
}"""


@cache
def parse(path: str) -> BeautifulSoup:
    return BeautifulSoup((SITE / path).read_text(encoding="utf-8"), "html.parser")


def unfold(page: Page) -> None:
    page.evaluate("() => { for (const fold of document.querySelectorAll('details')) fold.open = true }")


def lightness(colour: str) -> float:
    """How light a colour is, between 0 and 1."""
    red, green, blue = (int(part) / 255 for part in re.findall(r"\d+", colour)[:3])
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def luminance(page: Page, selector: str, what: str) -> float:
    """The same of an element's colour."""
    return lightness(page.locator(selector).first.evaluate(f"element => getComputedStyle(element).{what}"))


class TestOffline:
    @pytest.mark.parametrize("path", PAGES)
    def test_a_page_is_complete_without_any_other_host(self, visit, path):
        opened = visit(path)
        opened.page.evaluate(READ_TO_THE_END)
        opened.page.wait_for_load_state("networkidle")
        assert opened.problems == []

    @pytest.mark.parametrize("path", [path for path in PAGES if parse(path).select_one("article .math")])
    def test_mathematics_is_typeset_and_can_be_read_out(self, visit, path):
        page = visit(path).page
        written = len(parse(path).select("article .math"))
        expect(page.locator("article mjx-container > mjx-assistive-mml > math")).to_have_count(written)
        expect(page.locator("mjx-merror")).to_have_count(0)

    @pytest.mark.parametrize("width", [LAPTOP, PHONE])
    @pytest.mark.parametrize("path", CHAPTERS)
    def test_the_first_view_of_a_chapter_is_light(self, visit, path, width):
        opened = visit(path, width=width)
        opened.page.wait_for_load_state("networkidle")
        assert opened.weight() <= MOST_AT_FIRST

    def test_the_address_of_the_site_leads_to_its_first_page(self, visit):
        page = visit("search.html").page
        page.goto(page.url.replace("search", "index"))
        expect(page).to_have_url(re.compile(f"/{FIRST}$"))

    def test_what_goes_wrong_is_noted(self, visit):
        opened = visit("search.html")
        opened.page.evaluate(
            """() => {
                for (const address of ["https://elsewhere.example/a.js", "gone.js"])
                    document.head.append(Object.assign(document.createElement("script"), {src: address}));
                setTimeout(() => { throw new Error("on purpose") });
            }"""
        )
        opened.page.wait_for_load_state("networkidle")
        noted = "\n".join(opened.problems)
        assert "asks for https://elsewhere.example/a.js" in noted
        assert re.search(r"404: http://127\.0\.0\.1:\d+/gone\.js", noted)
        assert "script: " in noted
        assert "on purpose" in noted


class TestStructure:
    @pytest.mark.parametrize("path", PAGES)
    def test_headings_go_down_one_level_at_a_time(self, path):
        levels = [int(heading.name[1]) for heading in parse(path).select(HEADINGS)]
        assert levels[0] == 1
        assert levels.count(1) == 1
        assert [pair for pair in pairwise(levels) if pair[1] > pair[0] + 1] == []

    @pytest.mark.parametrize("path", PAGES)
    def test_a_page_has_its_language_and_one_main_part(self, path):
        page = parse(path)
        assert page.html["lang"] == "en"
        assert len(page.select("main, [role=main]")) == 1

    def test_no_two_pages_share_a_title(self):
        titles = [parse(path).title.text for path in PAGES]
        assert sorted(set(titles)) == sorted(titles)


class TestPhone:
    @pytest.mark.parametrize("path", PAGES)
    def test_only_boxes_scroll_sideways_and_the_keyboard_scrolls_them(self, visit, path):
        page = visit(path, width=PHONE).page
        unfold(page)
        assert page.evaluate(OVERFLOWING) == []
        assert page.evaluate("() => document.documentElement.scrollWidth") <= PHONE
        for box in page.evaluate_handle(SCROLLING).get_properties().values():
            box.as_element().focus()
            page.keyboard.press("ArrowRight")
            page.wait_for_function("box => box.scrollLeft > 0", arg=box)

    def test_what_is_too_wide_is_seen(self, visit):
        page = visit(FIRST, width=PHONE).page
        page.evaluate("() => { document.querySelector('article h1').style.width = '600px' }")
        assert any(element.startswith("<h1") for element in page.evaluate(OVERFLOWING))

    @pytest.mark.parametrize(
        ("toggle", "drawer"),
        [
            (".primary-toggle", "#pst-primary-sidebar-modal"),
            (".secondary-toggle", "#pst-secondary-sidebar-modal"),
        ],
    )
    def test_a_drawer_opens_and_closes_by_keyboard(self, visit, toggle, drawer):
        page = visit(CHAPTERS[0], width=PHONE).page
        for _ in range(2):
            page.locator(toggle).focus()
            page.keyboard.press("Enter")
            expect(page.locator(drawer)).to_be_visible()
            page.keyboard.press("Tab")
            expect(page.locator(f"{drawer} :focus")).to_be_visible()
            page.keyboard.press("Escape")
            expect(page.locator(drawer)).to_be_hidden()
            expect(page.locator(toggle)).to_be_focused()


class TestKeyboard:
    # On a phone what differs is the frame of a page, which is the same on all.
    @pytest.mark.parametrize(
        ("path", "width"), [(path, LAPTOP) for path in PAGES] + [(path, PHONE) for path in (FIRST, *CHAPTERS)]
    )
    def test_tab_goes_through_the_whole_page_in_order_and_shows_where_it_is(self, visit, path, width):
        page = visit(path, width=width).page
        stops = page.evaluate(STOPS)
        reached = []
        while len(reached) < 2 * len(stops) + 50:
            page.keyboard.press("Tab")
            at = page.evaluate(FOCUSED)
            if at is None or (reached and at["stop"] == 0):
                break
            reached.append(at)
        assert "main-content" in reached[0]["what"], "the link that skips to the text comes first"
        assert [at["what"] for at in reached if not at["use"]] == []
        order = [at["stop"] for at in reached if at["stop"] is not None]
        assert [stops[place] for place in range(len(stops)) if place not in order] == []
        assert order == sorted(order)
        assert [at["what"] for at in reached if not at["outlined"]] == []
        assert [at["what"] for at in reached if not at["seen"]] == []

    def test_the_first_link_skips_to_the_text(self, visit):
        page = visit(FIRST).page
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        page.keyboard.press("Tab")
        expect(page.locator("main :focus")).to_be_visible()

    @pytest.mark.parametrize("path", CHAPTERS)
    def test_every_fold_opens_by_keyboard_and_closes_again(self, visit, path):
        page = visit(path).page
        folds = page.locator("article details > summary")
        for fold in folds.all():
            fold.press("Enter")
        expect(page.locator("article details[open]")).to_have_count(folds.count())
        folds.first.press("Space")
        expect(page.locator("article details[open]")).to_have_count(folds.count() - 1)

    @pytest.mark.parametrize("path", CHAPTERS)
    def test_a_fold_is_called_what_is_written_on_it(self, path):
        assert [
            fold for fold in parse(path).select("summary") if fold.get("aria-label") or not fold.text.strip()
        ] == []


class TestMotion:
    @pytest.mark.parametrize("path", [FIRST, *CHAPTERS])
    def test_nothing_moves_for_those_who_ask_for_stillness(self, visit, path):
        page = visit(path, motion="reduce").page
        assert page.evaluate(MOVING) == []
        assert page.evaluate("() => document.getAnimations().length") == 0

    def test_what_moves_is_seen(self, visit):
        page = visit(FIRST, motion="no-preference").page
        page.add_style_tag(content="article p { transition: color 1s }")
        assert any(element.startswith("<p") for element in page.evaluate(MOVING))

    @pytest.mark.parametrize("width", [LAPTOP, PHONE])
    @pytest.mark.parametrize("path", CHAPTERS)
    def test_a_chapter_stays_where_it_is_while_it_loads(self, visit, path, width):
        page = visit(path, width=width, motion="no-preference", script=SHIFTS).page
        page.evaluate(READ_TO_THE_END)
        shifts = page.evaluate("() => window.shifts")
        assert sum(value for value, *_ in shifts) < 0.02, shifts


class TestColourMode:
    @pytest.mark.parametrize(
        ("mode", "system"), [("dark", "light"), (None, "dark"), ("light", "dark"), (None, "light")]
    )
    def test_a_page_is_as_dark_as_was_asked(self, visit, mode, system):
        page = visit(FIRST, mode=mode, system=system).page
        paper, ink = (
            luminance(page, "body", "backgroundColor"),
            luminance(page, "h1 >> visible=true", "color"),
        )
        if (mode or system) == "dark":
            assert paper < 0.2
            assert ink > 0.7
        else:
            assert paper > 0.9
            assert ink < 0.35

    @pytest.mark.parametrize(("mode", "system"), [("dark", "light"), (None, "dark")])
    def test_a_page_is_dark_before_it_is_painted(self, visit, mode, system):
        """Scripts that are deferred run after this: what they change is seen to change."""
        early = (
            "document.onreadystatechange = () => { window.early ??= document.documentElement.dataset.theme }"
        )
        assert visit(FIRST, mode=mode, system=system, script=early).page.evaluate("() => early") == "dark"

    def test_the_mode_is_changed_by_keyboard_and_kept(self, visit):
        page = visit(FIRST, mode=None, system="light").page
        seen = set()
        page.locator(".theme-switch-button").focus()
        for _ in range(3):
            page.keyboard.press("Enter")
            expect(page.locator(".theme-switch-button")).to_be_focused()
            seen.add(page.evaluate("() => document.documentElement.dataset.mode"))
            if page.evaluate("() => document.documentElement.dataset.mode") == "dark":
                assert luminance(page, "body", "backgroundColor") < 0.2
                page.reload()
                assert luminance(page, "body", "backgroundColor") < 0.2
                page.locator(".theme-switch-button").focus()
        assert seen == {"auto", "light", "dark"}


class TestSearch:
    def search(self, page: Page, words: str) -> None:
        page.keyboard.press("Control+k")
        expect(page.locator("#pst-search-dialog input")).to_be_focused()
        page.keyboard.type(words)
        page.keyboard.press("Enter")
        expect(page).to_have_url(re.compile(r"/search\.html\?q="))

    @pytest.mark.parametrize("path", CHAPTERS)
    def test_a_section_is_found_by_its_title(self, visit, path):
        titles = {
            heading.find(string=True): heading.parent["id"]
            for heading in parse(path).select("article section h2")
        }
        title = max(titles, key=len)
        page = visit(FIRST).page
        self.search(page, title)
        hit = page.locator(f"#search-results a[href*='{path}'][href$='#{titles[title]}']").first
        hit.focus()
        page.keyboard.press("Enter")
        expect(page).to_have_url(re.compile(rf"/{path}(\?.*)?#{titles[title]}$"))
        expect(page.locator("h2", has_text=title).first).to_be_in_viewport()

    def test_a_word_is_found(self, visit):
        page = visit(FIRST).page
        self.search(page, "vanishing")
        expect(page.locator("#search-results li a[href*='chapters/01_']").first).to_be_visible()

    def test_a_word_that_is_nowhere_is_not_found(self, visit):
        page = visit(FIRST).page
        self.search(page, "xylophone")
        expect(page.locator("#search-results")).to_contain_text("did not match any documents")
        expect(page.locator("#search-results li")).to_have_count(0)


class TestPaper:
    @pytest.mark.parametrize("path", CHAPTERS)
    def test_what_is_of_no_use_on_paper_is_left_out(self, visit, path):
        page = visit(path).page
        page.emulate_media(media="print")
        useless = "button, input, nav, dialog, header, footer, .bd-sidebar, .headerlink, .skip-link"
        shown = page.locator(useless).filter(visible=True)
        assert shown.evaluate_all("all => all.map(element => element.outerHTML.slice(0, 160))") == []
        assert page.locator("h1").filter(visible=True).count() == 1

    @pytest.mark.parametrize("path", CHAPTERS)
    def test_ink_is_dark_on_paper_in_the_dark_mode_too(self, visit, path):
        page = visit(path, mode="dark").page
        page.emulate_media(media="print")
        unfold(page)
        parts = "article :is(p, li, td, th, h2, a, pre, pre span, code, summary, mjx-container)"
        shown = page.locator(parts).filter(visible=True)
        inks = set(shown.evaluate_all("parts => parts.map(part => getComputedStyle(part).color)"))
        assert [ink for ink in inks if lightness(ink) > 0.4] == []

    @pytest.mark.parametrize("path", CHAPTERS)
    def test_what_is_folded_stays_folded_on_paper(self, visit, path):
        page = visit(path).page
        page.emulate_media(media="print")
        page.evaluate("() => dispatchEvent(new Event('beforeprint'))")
        expect(page.locator("article details[open]")).to_have_count(0)

    @pytest.mark.parametrize("path", CHAPTERS)
    def test_no_figure_is_cut(self, visit, path):
        page = visit(path, width=700).page  # about the width of A4 less its margins
        page.emulate_media(media="print")
        assert page.evaluate(CUT, PAPER) == []
        heights = page.locator("article img").evaluate_all(
            "images => images.map(image => image.offsetHeight)"
        )
        assert max(heights) < PAPER

    @pytest.mark.parametrize("path", CHAPTERS)
    def test_every_figure_reaches_the_paper(self, visit, path):
        page = visit(path).page
        printed = page.pdf(format="A4")
        figures = {image["src"] for image in parse(path).select("article img[src$=png]")}
        assert len(re.findall(rb"/Subtype\s*/Image\b", printed)) >= len(figures)
