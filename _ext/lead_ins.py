"""Sphinx extension: a paragraph that opens with a bold label is styled by it.

Chapters are plain Markdown, so **Predict.** is a bold word in Colab and JupyterLab. On the site a prediction is a box
that asks the reader to stop, and the other labels (What we see, Why, …) read as headings that run in.
"""

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.transforms.post_transforms import SphinxPostTransform

BOX = "Predict."


class LeadIns(SphinxPostTransform):
    """Mark paragraphs by the bold words that they open with."""

    default_priority = 900

    def run(self, **_: object) -> None:
        """Visit each paragraph of a notebook's text, computed ones included."""
        for paragraph in self.document.findall(nodes.paragraph):
            label = next((child for child in paragraph if child.astext()), None)
            if not isinstance(label, nodes.strong) or isinstance(paragraph.parent, nodes.list_item):
                continue
            words = label.astext()
            if words == BOX:
                paragraph["classes"].append("prediction")
            elif words.endswith((".", "?")) and not words.startswith("Figure"):
                paragraph["classes"].append("lead-in")


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the transform, which runs when computed text has become part of the page."""
    app.add_post_transform(LeadIns)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
