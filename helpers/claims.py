"""A claim, its evidence and its verdict, shown under the experiment that settles it.

The wordings are package data, `claims.toml`. `settle` leaves a record in the stored outputs of a chapter, and
`ledger` reads all the records back: no verdict is typed twice.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import pandas as pd
from IPython.display import display

from helpers.reporting import Check, Factor

__all__ = ["CLAIMS", "MIME", "SOURCES", "Claim", "Source", "as_markdown", "kind_of", "ledger", "settle"]

#: The type of the machine-readable record that `settle` leaves in a notebook.
MIME = "application/vnd.rectified.claim+json"


@dataclass(frozen=True)
class Source:
    """Where a claim was met: a short name for tables, its title, who wrote it, and its address, if it has one."""

    short: str
    title: str
    by: str = ""
    url: str = ""

    @property
    def link(self) -> str:
        """The short name, as a Markdown link where there is an address."""
        return f"[{self.short}]({self.url})" if self.url else self.short

    @property
    def citation(self) -> str:
        """The whole source in one line of Markdown."""
        title = f"[{self.title}]({self.url})" if self.url else self.title
        return f"{title}. {self.by}." if self.by else f"{title}."


@dataclass(frozen=True)
class Claim:
    """A claim in the book's own words, the keys of its sources, and the file stem of the chapter that settles it."""

    id: str
    wording: str
    source: tuple[str, ...]
    chapter: str


def _read() -> tuple[dict[str, Source], dict[str, Claim]]:
    text = resources.files("helpers").joinpath("claims.toml").read_text(encoding="utf-8")
    data = tomllib.loads(text)
    sources = {key: Source(**entry) for key, entry in data["sources"].items()}
    claims = {entry["id"]: Claim(**{**entry, "source": tuple(entry["source"])}) for entry in data["claims"]}
    return sources, claims


#: The sources by key, and the claims by id, in the order of the ledger.
SOURCES, CLAIMS = _read()


def settle(claim_id: str, *, holds: bool, condition: str = "", checks: Sequence[Check]) -> None:
    """Show the verdict on a claim with its evidence, and leave a record of it for the ledger.

    The verdict is "holds", "holds if" and the condition, or "fails as stated". Where a check does not agree with the
    book, the box says so, and comparing it with the stored one fails; it is no exception, so that a reader
    can change an experiment and see what happens.

    Parameters
    ----------
    claim_id : str
        One of `CLAIMS`.
    holds : bool
        Computed from the measurements, with a margin that other machines do not cross.
    condition : str
        Under which condition the claim holds: what follows "holds if", without a full stop. Markdown.
    checks : sequence of Check
        The evidence: at least one.

    Raises
    ------
    ValueError
        If the id is unknown, `checks` is empty, or a condition comes with a claim that fails.
    TypeError
        If `holds` is no bool, `condition` no string, or `checks` holds anything but `reporting.Check`.

    Examples
    --------
    >>> settle(  # doctest: +SKIP
    ...     "sigmoid-quarter",
    ...     holds=bool(slope.max() <= 0.25),
    ...     condition="the weights are small",
    ...     checks=[Check("largest slope", slope.max(), 0.25, within=1e-6, n=None)],
    ... )
    """
    if claim_id not in CLAIMS:
        raise ValueError(f"unknown claim {claim_id!r}; the claims are {', '.join(CLAIMS)}")
    outcome = holds.item() if hasattr(holds, "item") else holds
    if not isinstance(outcome, bool):
        raise TypeError(
            f"holds must be True or False, computed from the measurements, but was given {holds!r}"
        )
    if not isinstance(condition, str):
        raise TypeError(f"condition must be a string, but was given {condition!r}")
    if condition and not outcome:
        raise ValueError(
            f"a claim that fails as stated has no condition, but was given {condition!r}; "
            "pass holds=True if the claim holds under this condition"
        )
    checks = tuple(checks)
    if not checks:
        raise ValueError("a verdict needs evidence: give at least one reporting.Check in checks")
    for check in checks:
        if not isinstance(check, Check):
            raise TypeError(f"checks must hold reporting.Check, but was given {check!r}")

    claim = CLAIMS[claim_id]
    verdict = f"holds if {condition}" if condition else "holds" if outcome else "fails as stated"
    display(
        {
            "text/markdown": _box(claim, verdict, checks),
            "text/plain": "\n".join(
                [f"Claim {claim.id}: {verdict}", claim.wording, *(f"- {line}" for line in _evidence(checks))]
            ),
            MIME: {"claim": claim.id, "verdict": verdict, "checks": [_record(check) for check in checks]},
        },
        raw=True,
    )


def ledger(folder: str | Path) -> pd.DataFrame:
    """Read the verdicts on all claims out of the stored outputs of the chapters.

    Parameters
    ----------
    folder : str or pathlib.Path
        The folder that holds the chapters, ``01_*.ipynb`` and so on.

    Returns
    -------
    pandas.DataFrame
        A row a claim, in the order of `CLAIMS`: id, source, claim (the wording), chapter (file stem), verdict
        ("open" until a chapter settles it), evidence (the checks, joined by "; ") and n (as text).

    Raises
    ------
    ValueError
        If the folder holds no chapters, a chapter is no notebook, or a record does not fit: an unknown claim, a
        claim of another chapter, or two verdicts on one claim.
    """
    notebooks = sorted(Path(folder).glob("[0-9][0-9]_*.ipynb"))
    if not notebooks:
        raise ValueError(
            f"no chapters in {str(folder)!r}; give the folder that holds 01_*.ipynb and the others"
        )
    verdicts: dict[str, str] = {}
    checks: dict[str, list[dict[str, Any]]] = {}
    for notebook in notebooks:
        for record in _records(notebook):
            claim_id, verdict = record["claim"], record["verdict"]
            if claim_id not in CLAIMS:
                raise ValueError(
                    f"{notebook.name} settles the unknown claim {claim_id!r}; add it to claims.toml"
                )
            if CLAIMS[claim_id].chapter != notebook.stem:
                raise ValueError(
                    f"{notebook.name} settles {claim_id!r}, which claims.toml gives to {CLAIMS[claim_id].chapter}"
                )
            if verdicts.setdefault(claim_id, verdict) != verdict:
                raise ValueError(
                    f"{notebook.name} settles {claim_id!r} twice: {verdicts[claim_id]!r} and {verdict!r}"
                )
            checks.setdefault(claim_id, []).extend(record["checks"])
    return pd.DataFrame(
        {
            "id": claim.id,
            "source": ", ".join(SOURCES[key].short for key in claim.source),
            "claim": claim.wording,
            "chapter": claim.chapter,
            "verdict": verdicts.get(claim.id, "open"),
            "evidence": "; ".join(check["text"] for check in checks.get(claim.id, [])),
            "n": ", ".join(
                str(n) for n in sorted({check["n"] for check in checks.get(claim.id, [])} - {None})
            ),
        }
        for claim in CLAIMS.values()
    )


def as_markdown(frame: pd.DataFrame) -> str:
    """Write a ledger as Markdown: the count of each verdict, then a table with links to the chapters.

    Parameters
    ----------
    frame : pandas.DataFrame
        As `ledger` returns it.

    Returns
    -------
    str
        A chapter is linked once it settles a claim.
    """
    kinds = frame["verdict"].map(kind_of)
    phrases = {
        "holds": ("holds as stated", "hold as stated"),
        "conditional": ("holds under a condition", "hold under a condition"),
        "fails": ("fails as stated", "fail as stated"),
        "open": ("is still open", "are still open"),
    }
    counts = []
    for kind, (singular, plural) in phrases.items():
        count = int((kinds == kind).sum())
        counts.append(f"{count} {singular if count == 1 else plural}")
    written = set(frame.loc[kinds != "open", "chapter"])
    lines = [
        f"Of {len(frame)} claims, {', '.join(counts[:-1])}, and {counts[-1]}.",
        "",
        '<div class="claims-ledger">',
        "",
        "| Claim | Verdict | Evidence |",
        "| --- | --- | --- |",
    ]
    for row in frame.itertuples():
        chapter = f"chapter {int(row.chapter[:2])}"
        if row.chapter in written:
            chapter = f"[{chapter}]({row.chapter}.ipynb)"
        cells = (f"{row.claim} (*{row.source}*)", f"{_badge(row.verdict)} ({chapter})", row.evidence)
        lines.append("| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |")
    return "\n".join([*lines, "", "</div>"])


def kind_of(verdict: str) -> str:
    """Sort a verdict into the four kinds that the site's style knows.

    Parameters
    ----------
    verdict : str
        As `ledger` has it: a condition may follow.

    Returns
    -------
    str
        "holds", "conditional", "fails" or "open".
    """
    return {"holds": "holds", "fails as stated": "fails", "open": "open"}.get(verdict, "conditional")


def _badge(verdict: str) -> str:
    """Set the opening words of a verdict as a badge; a condition follows as it is."""
    kind = kind_of(verdict)
    badge, condition = (
        ("holds if", verdict.removeprefix("holds if")) if kind == "conditional" else (verdict, "")
    )
    return f'<strong class="verdict {kind}">{badge}</strong>{condition}'


def _evidence(checks: tuple[Check, ...]) -> list[str]:
    """Write each check in a line, with a line before them where some do not agree."""
    apart = sum(not check.agrees for check in checks)
    warning = (
        f"✗ {apart} of {len(checks)} checks outside the tolerance: this run does not give the book's evidence"
    )
    return [*([warning] if apart else []), *(check.text for check in checks)]


def _box(claim: Claim, verdict: str, checks: tuple[Check, ...]) -> str:
    """Write the box that a reader sees: Markdown, blank lines around it, in an HTML admonition."""
    met_in = ", ".join(SOURCES[key].link for key in claim.source)
    return "\n".join(
        [
            f'<div class="admonition claim {kind_of(verdict)}" id="claim-{claim.id}">',
            '<p class="admonition-title">Claim</p>',
            "",
            f"*{claim.wording}* (Met in: {met_in}.)",
            "",
            f"Verdict: {_badge(verdict)}.",
            "",
            "Evidence (± is a [tolerance](notation.md), not an interval):",
            "",
            *(f"- {line}" for line in _evidence(checks)),
            "",
            "</div>",
        ]
    )


def _record(check: Check) -> dict[str, Any]:
    """Give the part of a check that is the same on every machine."""
    within = {"factor": check.within.times} if isinstance(check.within, Factor) else check.within
    return {
        "label": check.label,
        "expected": check.expected,
        "within": within,
        "n": check.n,
        "agrees": check.agrees,
        "text": check.text,
    }


def _records(notebook: Path) -> list[dict[str, Any]]:
    """Collect what `settle` left in a notebook's outputs."""
    try:
        cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise ValueError(f"{notebook.name} is not a notebook: {error!r}") from error
    outputs = (output for cell in cells for output in cell.get("outputs", []))
    return [output["data"][MIME] for output in outputs if MIME in output.get("data", {})]
