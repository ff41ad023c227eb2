"""Sphinx extension: the directive ``verdicts`` shows chosen claims with what the book found, on the landing page.

Wording and verdict come from the ledger (`helpers.claims`), so a card never says what the evidence does not.
"""

from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from helpers import claims


class Verdicts(SphinxDirective):
    """List the claims whose ids are given, one a line, and then how many are settled."""

    has_content = True

    def run(self) -> list[nodes.Node]:
        """Make one card a claim, which leads to its evidence."""
        folder = Path(self.env.srcdir) / "chapters"
        self.env.note_reread()
        ledger = claims.ledger(folder).set_index("id")
        cards = nodes.bullet_list(classes=["verdicts"])
        for claim in self.content:
            if claim not in ledger.index or ledger.verdict[claim] == "open":
                raise self.error(f"{claim!r} is no settled claim; those are {', '.join(settled(ledger))}")
            cards += self.card(claim, ledger.loc[claim])
        count = nodes.paragraph(
            "",
            f"{len(settled(ledger))} of {len(ledger)} claims are settled so far. ",
            nodes.reference("", "All claims, and their evidence", refuri="claims.html", internal=True),
            classes=["verdicts-count"],
        )
        return [cards, count]

    def card(self, claim: str, row: object) -> nodes.list_item:
        """Show the claim in its words, the verdict as a badge, and the way to the experiment."""
        kind = claims.kind_of(row.verdict)
        opening = "holds if …" if kind == "conditional" else row.verdict
        badge = nodes.strong("", opening, classes=["verdict", kind])
        link = nodes.reference("", row.claim, refuri=f"{row.chapter}.html#claim-{claim}", internal=True)
        return nodes.list_item("", nodes.paragraph("", "", badge), nodes.paragraph("", "", link))


def settled(ledger: object) -> list[str]:
    """Give the ids of the claims that have a verdict."""
    return list(ledger.index[ledger.verdict != "open"])


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directive."""
    app.add_directive("verdicts", Verdicts)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
