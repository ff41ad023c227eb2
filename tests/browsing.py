"""What the browser tests share: the built site behind a local server, and visits to it in a real Chromium.

Nothing else answers in a visit: a request to any other host is stopped and noted, like every error of a page.
"""

import gzip
import os
import re
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from playwright.sync_api import Browser, Page, Response, Route, expect

SITE = Path(__file__).parents[1] / "_build" / "html"
PAGES = sorted(
    path.relative_to(SITE).as_posix()
    for path in SITE.rglob("*.html")
    if "_static" not in path.relative_to(SITE).parts and "<main" in path.read_text(encoding="utf-8")
)
CHAPTERS = [page for page in PAGES if re.match(r"chapters/\d\d_", page)]
FIRST = "chapters/index.html"
MODES = ("light", "dark")
LAPTOP, PHONE = 1280, 375
PATIENCE = 150_000  # milliseconds: on a busy machine pages come late, and that is no fault of theirs
COMPRESSED = re.compile(r"text/|javascript|json|xml|svg")

expect.set_options(timeout=PATIENCE / 5)

SETTLED = """async () => {
    await window.MathJax?.startup?.promise;
    await document.fonts.ready;
    await new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)));
}"""
# By screens, as a reader would, and waiting for what comes into view.
READ_TO_THE_END = """async () => {
    const page = document.scrollingElement;
    for (let top = 0; top < page.scrollHeight; top += innerHeight / 2) {
        scrollTo({top, behavior: "instant"});
        await new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)));
        const seen = [...document.images].filter(image => {
            const box = image.getBoundingClientRect();
            return image.checkVisibility() && box.bottom > 0 && box.top < innerHeight;
        });
        // An explorable takes its still picture away, come or not.
        while (seen.some(image => image.isConnected && !image.complete))
            await new Promise(done => requestAnimationFrame(done));
    }
}"""


def chromium() -> str | None:
    """Find the browser: $CHROMIUM, or one of the names that it is installed under; first the one without windows."""
    installed = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
    names = (os.environ.get("CHROMIUM", ""), *installed)
    return next((found for name in names if (found := shutil.which(name))), None)


class Quiet(SimpleHTTPRequestHandler):
    """Serve files and say nothing."""

    def log_message(self, *_: object) -> None:
        """Keep the tests' output free of a line a request."""


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve a folder on a free port of this machine, and give the address."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder)) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


@dataclass
class Visit:
    """One page, open in a context of its own, with what went wrong there and what was sent."""

    page: Page
    problems: list[str] = field(default_factory=list)
    responses: list[Response] = field(default_factory=list)

    def watch(self, address: str) -> None:
        """Note errors and answers; stop what asks for another host."""

        def stop(route: Route) -> None:
            self.problems.append(f"asks for {route.request.url}")
            route.abort()

        context = self.page.context
        context.route(lambda url: re.match("(http|ws)s?:", url) and not url.startswith(address), stop)
        context.on(
            "console",
            lambda said: self.problems.append(f"console: {said.text}") if said.type == "error" else None,
        )
        context.on("weberror", lambda raised: self.problems.append(f"script: {raised.error}"))
        context.on("response", self.answer)

    def answer(self, response: Response) -> None:
        """Note an answer, and whether it is one."""
        self.responses.append(response)
        if not response.ok:
            self.problems.append(f"{response.status}: {response.url}")

    def weight(self) -> int:
        """Bytes of all answers so far, texts as gzip sends them."""
        return sum(
            len(gzip.compress(answer.body(), 6))
            if COMPRESSED.search(answer.header_value("content-type") or "")
            else len(answer.body())
            for answer in self.responses
        )


@dataclass
class Visitor:
    """Opens pages of the site."""

    browser: Browser
    address: str
    visits: list[Visit] = field(default_factory=list)

    def __call__(
        self,
        path: str,
        *,
        width: int = LAPTOP,
        mode: str | None = "light",
        system: str | None = None,
        motion: str = "reduce",
        script: str = "",
    ) -> Visit:
        """Open a page and wait until its mathematics and fonts are there.

        The mode is chosen as the theme's own button does; None leaves it to the system's setting. Motion is reduced
        unless a test is about it: what is looked at then stands still.
        """
        context = self.browser.new_context(
            viewport={"width": width, "height": 800},
            color_scheme=system or mode or "light",
            reduced_motion=motion,
            has_touch=width == PHONE,
        )
        context.set_default_timeout(PATIENCE)
        visit = Visit(context.new_page())
        self.visits.append(visit)
        visit.watch(self.address)
        if mode is not None:
            visit.page.add_init_script(f"localStorage.mode ??= {mode!r}")
        if script:
            visit.page.add_init_script(script)
        visit.page.goto(self.address + path)
        visit.page.evaluate(SETTLED)
        return visit

    def leave(self) -> None:
        """Close what was opened."""
        while self.visits:
            self.visits.pop().page.context.close()
