"""Sphinx extension: a figure's words become its alternative text.

`helpers.figures.show` stores a figure's description as the ``text/plain`` of its output. MyST-NB shows the picture
and drops the text; this puts the text into the picture's ``alt`` first.
"""

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.transforms.post_transforms import SphinxPostTransform


class FigureAlt(SphinxPostTransform):
    """Copy the ``text/plain`` of each notebook output into the ``alt`` of the images beside it."""

    default_priority = 3  # MyST-NB's SelectMimeType, at 4, keeps one form of each output and drops the others

    def run(self, **_: object) -> None:
        """Visit each output that is still a bundle of forms."""
        for bundle in self.document.findall(nodes.container):
            if bundle.get("nb_element") == "mime_bundle":
                words = " ".join(form.astext() for form in bundle if form["mime_type"] == "text/plain")
                for image in bundle.findall(nodes.image):
                    image["alt"] = " ".join(words.split())


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the transform."""
    app.add_post_transform(FigureAlt)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
