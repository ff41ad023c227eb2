"""The browser of the tests that need one. Only they import Playwright: those of `helpers` run without it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from browsing import Visitor


# A browser a module, and no longer: Playwright keeps an event loop running in the thread that nbval's kernels use next.
@pytest.fixture(scope="module")
def visitor() -> Iterator[Visitor]:
    """Chromium and the site. Where there is no Chromium the tests skip, but in CI, where it must be, they fail."""
    from browsing import SITE, Visitor, chromium, served
    from playwright.sync_api import sync_playwright

    if not (SITE / "index.html").exists():
        pytest.fail("there is no site in _build/html: run `make book` first, or `make test`")
    path = chromium()
    if path is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(
            "there is no Chromium here. On Debian and Ubuntu: apt install chromium; or set CHROMIUM to its path"
        )
    with served(SITE) as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=path, args=["--no-sandbox", "--disable-gpu", "--disable-quic"]
        )
        yield Visitor(browser, address)
        browser.close()


@pytest.fixture
def visit(visitor: Visitor) -> Iterator[Visitor]:
    """Open pages, which are closed after the test."""
    yield visitor
    visitor.leave()
