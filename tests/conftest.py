"""What all tests share: no window opens for a figure, and nbval runs the chapters as the book wants it."""

from collections.abc import Generator

import matplotlib
import pytest

matplotlib.use("agg")


class Chapters:
    """A pytest plugin for nbval's items, which lie outside this folder and so beyond the hooks of a conftest."""

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> Generator:
        """Start kernels without progress bars; leave ``text/html``, which may hold random identifiers, uncompared."""
        notebook = item.parent
        if not hasattr(notebook, "skip_compare"):
            return (yield)
        notebook.skip_compare = {*notebook.skip_compare, "text/html"}
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("TQDM_DISABLE", "1")
            return (yield)


def pytest_configure(config: pytest.Config) -> None:
    """Register the plugin for the whole run."""
    config.pluginmanager.register(Chapters())
