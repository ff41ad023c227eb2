import json
import math
import re
import tomllib
from pathlib import Path

import numpy as np
import pytest
import torch

from helpers import claims
from helpers.reporting import Check, Factor

ROOT = Path(__file__).parent.parent
GOOD = Check("largest slope", 0.25, 0.25, within=0.001, n=None)
SEEDED = Check("accuracy at depth 20", 0.61, 0.6, within=0.06, n=10)
BAD = Check("accuracy at depth 20", 0.83, 0.6, within=0.06, n=10)


@pytest.fixture
def displayed(monkeypatch):
    outputs = []
    monkeypatch.setattr(claims, "display", lambda data, **options: outputs.append(data))
    return outputs


def test_the_catalogue_has_every_claim_once():
    entries = tomllib.loads((ROOT / "helpers" / "claims.toml").read_text(encoding="utf-8"))["claims"]
    assert len(entries) == len(claims.CLAIMS) == 36
    assert len({claim.wording for claim in claims.CLAIMS.values()}) == 36


def test_every_claim_is_met_in_known_sources_and_every_source_makes_a_claim():
    assert {key for claim in claims.CLAIMS.values() for key in claim.source} == set(claims.SOURCES)


@pytest.mark.parametrize("claim", claims.CLAIMS.values(), ids=str)
def test_a_claim_is_one_sentence_with_a_chapter(claim):
    assert re.fullmatch(r"[A-Z][^\n|]*\.", claim.wording)
    assert claim.source
    assert re.fullmatch(r"0[1-7]_[a-z_]+", claim.chapter)


def test_chapter_one_settles_its_five_claims():
    chapter = [claim.id for claim in claims.CLAIMS.values() if claim.chapter == "01_vanishing_gradients"]
    assert sorted(chapter) == [
        "depth-stalls",
        "matrix-product",
        "sigmoid-quarter",
        "sigmoid-saturates",
        "tanh-xavier-stable",
    ]


def test_a_source_with_an_address_is_linked_and_one_without_is_named():
    assert claims.SOURCES["Q"].link == "[Cross Validated](https://stats.stackexchange.com/questions/176794)"
    assert claims.SOURCES["Q"].citation.startswith("[How does rectilinear")
    assert claims.SOURCES["T"].link == "a ReLU tutorial"
    assert claims.SOURCES["T"].citation.endswith("of the kind that learners meet first.")


@pytest.mark.parametrize(
    ("holds", "condition", "verdict", "kind"),
    [
        (True, "", "holds", "holds"),
        (True, "the weights are small", "holds if the weights are small", "conditional"),
        (False, "", "fails as stated", "fails"),
        (np.bool_(True), "", "holds", "holds"),
        (torch.tensor(False), "", "fails as stated", "fails"),
    ],
)
def test_settle_shows_the_verdict_in_every_form_of_its_output(displayed, holds, condition, verdict, kind):
    claims.settle("sigmoid-quarter", holds=holds, condition=condition, checks=[GOOD, SEEDED])
    (output,) = displayed
    assert output["text/plain"].splitlines() == [
        f"Claim sigmoid-quarter: {verdict}",
        claims.CLAIMS["sigmoid-quarter"].wording,
        "- largest slope: 0.25 ± 0.001",
        "- accuracy at depth 20: 0.60 ± 0.06 (n = 10)",
    ]
    assert output[claims.MIME]["verdict"] == verdict
    assert f'class="admonition claim {kind}"' in output["text/markdown"]
    assert claims.CLAIMS["sigmoid-quarter"].wording in output["text/markdown"]
    assert "[UvA tutorial 3](https:" in output["text/markdown"]
    assert verdict in re.sub("<[^>]*>", "", output["text/markdown"])


def test_the_box_is_markdown_in_an_html_admonition_that_every_viewer_reads(displayed):
    claims.settle("sigmoid-quarter", holds=True, checks=[GOOD])
    blocks = displayed[0]["text/markdown"].split("\n\n")
    assert blocks[0].startswith('<div class="admonition claim')
    assert blocks[0].endswith('<p class="admonition-title">Claim</p>')
    assert blocks[-2] == "- largest slope: 0.25 ± 0.001"
    assert blocks[-1] == "</div>"


def test_the_output_is_the_same_wherever_in_the_tolerance_a_measurement_lies(displayed):
    for value in (0.56, 0.6001, 0.65):
        check = Check("accuracy", value, 0.6, within=0.06, n=10)
        claims.settle("lr-kills", holds=True, checks=[check])
    assert displayed[0] == displayed[1] == displayed[2]


def test_evidence_outside_its_tolerance_changes_every_form_and_raises_nothing(displayed):
    claims.settle("lr-kills", holds=True, checks=[SEEDED, GOOD])
    claims.settle("lr-kills", holds=True, checks=[BAD, GOOD])
    good, bad = displayed
    for form in ("text/plain", "text/markdown"):
        assert "✗" not in good[form]
        assert "- ✗ 1 of 2 checks outside the tolerance" in bad[form]
        assert "0.83 ✗ (expected 0.60 ± 0.06)" in bad[form]
    assert [check["agrees"] for check in bad[claims.MIME]["checks"]] == [False, True]


def test_the_record_is_json_and_holds_what_is_stable(displayed):
    check = Check("gradient", 2e-12, 1e-12, Factor(3), n=10, format=".0e")
    claims.settle("depth-stalls", holds=False, checks=[GOOD, check])
    record = displayed[0][claims.MIME]
    assert json.loads(json.dumps(record)) == record
    assert record["claim"] == "depth-stalls"
    assert record["checks"] == [
        {
            "label": "largest slope",
            "expected": 0.25,
            "within": 0.001,
            "n": None,
            "agrees": True,
            "text": "largest slope: 0.25 ± 0.001",
        },
        {
            "label": "gradient",
            "expected": 1e-12,
            "within": {"factor": 3.0},
            "n": 10,
            "agrees": True,
            "text": "gradient: 1e-12, within a factor of 3 (n = 10)",
        },
    ]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (
            {"claim_id": "relu-is-magic"},
            ValueError,
            "unknown claim 'relu-is-magic'; the claims are depth-stalls, .*",
        ),
        (
            {"holds": 1},
            TypeError,
            "holds must be True or False, computed from the measurements, but was given 1",
        ),
        ({"holds": math.nan}, TypeError, "holds must be True or False"),
        ({"holds": np.float64(1)}, TypeError, "holds must be True or False"),
        ({"holds": None}, TypeError, "holds must be True or False"),
        ({"holds": "yes"}, TypeError, "holds must be True or False"),
        ({"condition": None}, TypeError, "condition must be a string"),
        (
            {"holds": False, "condition": "x"},
            ValueError,
            "fails as stated has no condition, but was given 'x'",
        ),
        ({"checks": []}, ValueError, "a verdict needs evidence"),
        ({"checks": [0.25]}, TypeError, r"checks must hold reporting\.Check, but was given 0\.25"),
    ],
)
def test_settle_meets_bad_input_at_the_door(displayed, arguments, error, message):
    with pytest.raises(error, match=message):
        claims.settle(**{"claim_id": "depth-stalls", "holds": True, "checks": [GOOD], **arguments})
    assert displayed == []


def record(claim_id, verdict="holds", checks=((SEEDED.text, 10),)):
    return {"claim": claim_id, "verdict": verdict, "checks": [{"text": text, "n": n} for text, n in checks]}


def write_chapter(folder, stem, *records):
    """Write a notebook with a Markdown cell, a stream, and a cell for each record."""
    cells = [
        {"cell_type": "markdown", "source": "# A chapter"},
        {"cell_type": "code", "outputs": [{"output_type": "stream", "name": "stdout", "text": "10 epochs"}]},
        *(
            {"cell_type": "code", "outputs": [{"output_type": "display_data", "data": {claims.MIME: data}}]}
            for data in records
        ),
    ]
    (folder / f"{stem}.ipynb").write_text(json.dumps({"cells": cells}), encoding="utf-8")


def test_what_settle_leaves_is_what_the_ledger_reads(displayed, tmp_path):
    claims.settle("sigmoid-quarter", holds=True, condition="the weights are small", checks=[GOOD, SEEDED])
    write_chapter(tmp_path, "01_vanishing_gradients", displayed[0][claims.MIME])
    frame = claims.ledger(tmp_path)
    assert list(frame.columns) == ["id", "source", "claim", "chapter", "verdict", "evidence", "n"]
    assert list(frame["id"]) == list(claims.CLAIMS)
    row = frame.set_index("id").loc["sigmoid-quarter"]
    assert row["verdict"] == "holds if the weights are small"
    assert row["evidence"] == f"{GOOD.text}; {SEEDED.text}"
    assert row["n"] == "10"
    assert row["source"] == "UvA tutorial 3, Dive into Deep Learning"


def test_claims_that_no_chapter_settles_are_open(tmp_path):
    write_chapter(tmp_path, "01_vanishing_gradients", record("depth-stalls", "fails as stated"))
    write_chapter(tmp_path, "07_normalization_and_skips")
    frame = claims.ledger(str(tmp_path)).set_index("id")
    assert frame.loc["depth-stalls", "verdict"] == "fails as stated"
    assert set(frame.drop("depth-stalls")["verdict"]) == {"open"}
    assert set(frame.drop("depth-stalls")["evidence"]) == {""}


def test_a_claim_settled_twice_alike_gathers_its_evidence(tmp_path):
    one, two = (
        record("lr-kills", checks=[("a: 1", 10)]),
        record("lr-kills", checks=[("b: 2", 100), ("c: 3", None)]),
    )
    write_chapter(tmp_path, "04_dying_units", one, two)
    row = claims.ledger(tmp_path).set_index("id").loc["lr-kills"]
    assert row["evidence"] == "a: 1; b: 2; c: 3"
    assert row["n"] == "10, 100"


def test_a_ledger_without_chapters_is_an_error(tmp_path):
    write_chapter(tmp_path, "claims")
    with pytest.raises(ValueError, match=r"no chapters in .*; give the folder that holds 01_\*\.ipynb"):
        claims.ledger(tmp_path)


@pytest.mark.parametrize(
    ("records", "message"),
    [
        ([record("relu-is-magic")], "01_vanishing_gradients.ipynb settles the unknown claim 'relu-is-magic'"),
        ([record("lr-kills")], "settles 'lr-kills', which claims.toml gives to 04_dying_units"),
        (
            [record("depth-stalls"), record("depth-stalls", "fails as stated")],
            "settles 'depth-stalls' twice: 'holds' and 'fails as stated'",
        ),
    ],
)
def test_records_that_do_not_fit_are_errors(tmp_path, records, message):
    write_chapter(tmp_path, "01_vanishing_gradients", *records)
    with pytest.raises(ValueError, match=message):
        claims.ledger(tmp_path)


@pytest.mark.parametrize("text", ['{"cells": [', "{}", "[]"])
def test_a_chapter_that_is_no_notebook_is_an_error_with_its_name(tmp_path, text):
    (tmp_path / "01_vanishing_gradients.ipynb").write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=r"01_vanishing_gradients\.ipynb is not a notebook"):
        claims.ledger(tmp_path)


def test_the_markdown_ledger_counts_verdicts_and_links_written_chapters_only(tmp_path):
    write_chapter(
        tmp_path,
        "01_vanishing_gradients",
        record("depth-stalls", "fails as stated"),
        record("sigmoid-quarter", "holds if $|w| < 1$"),
        record("matrix-product", "holds if the width is large"),
    )
    text = claims.as_markdown(claims.ledger(tmp_path))
    assert text.startswith(
        "Of 36 claims, 0 hold as stated, 2 hold under a condition, 1 fails as stated, and 33 are still open."
    )
    rows = [line for line in text.splitlines() if line.startswith("| ")][2:]
    assert len(rows) == 36
    assert all(len(re.findall(r"(?<!\\)\|", row)) == 4 for row in rows)
    assert (
        '<strong class="verdict fails">fails as stated</strong> ([chapter 1](01_vanishing_gradients.ipynb))'
        in rows[0]
    )
    assert r'<strong class="verdict conditional">holds if</strong> $\|w\| < 1$ ([chapter 1]' in rows[1]
    assert '<strong class="verdict open">open</strong> ([chapter 1](01_vanishing_gradients.ipynb))' in rows[2]
    assert '<strong class="verdict open">open</strong> (chapter 2)' in rows[3]


def test_the_ledger_page_shows_the_ledger_and_its_sources(monkeypatch, tmp_path):
    write_chapter(tmp_path, "01_vanishing_gradients", record("depth-stalls"))
    monkeypatch.chdir(tmp_path)
    shown = []
    monkeypatch.setattr("IPython.display.display", lambda output: shown.append(output.data))
    page = json.loads((ROOT / "chapters" / "claims.ipynb").read_text(encoding="utf-8"))
    namespace = {}
    for cell in page["cells"]:
        if cell["cell_type"] == "code":
            exec("".join(cell["source"]), namespace)
    ledger, sources = shown
    assert ledger == claims.as_markdown(claims.ledger(tmp_path))
    assert [line[2:] for line in sources.splitlines()] == [
        source.citation for source in claims.SOURCES.values()
    ]
