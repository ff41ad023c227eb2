"""What all tests share: no window opens for a figure, and nbval runs the chapters as the book wants it."""

from collections.abc import Generator

import matplotlib
import pytest

from helpers import figures

matplotlib.use("agg")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator:
    """Start nbval's kernels without progress bars; compare the words of a chart, and not its data and its HTML."""
    notebook = item.parent
    if not hasattr(notebook, "skip_compare"):
        return (yield)
    notebook.skip_compare = {*notebook.skip_compare, "text/html", figures.EXPLORABLE}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TQDM_DISABLE", "1")
        return (yield)
