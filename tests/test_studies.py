"""Studies: the stored tables are those of the code that stands here, and the code runs."""

import itertools

import pandas as pd
import pytest
import torch

from helpers import studies, theory
from helpers.studies import STUDIES, Study, load, run, write


@pytest.mark.parametrize("name", STUDIES)
def test_a_stored_table_has_every_point_of_its_grid_and_no_other(name):
    table, grid = load(name), list(STUDIES[name].grid)
    arguments = list(grid[0])
    stored = table[arguments].drop_duplicates().to_dict("records")
    assert sorted(map(str, stored)) == sorted(map(str, grid))


@pytest.mark.parametrize("name", STUDIES)
def test_a_stored_table_was_made_by_the_function_that_stands_here(name):
    made = load(name).attrs
    assert made.keys() == {"made", "python", "torch", "numpy", "processors", "seconds", "function"}
    assert made["function"] == STUDIES[name].fingerprint, (
        f"the function of {name} has changed since its table was made: make study NAME={name}"
    )


@pytest.mark.parametrize("name", STUDIES)
def test_a_miniature_gives_what_the_table_has(name):
    small = run(name, miniature=True, n_jobs=1, progress=False)
    assert set(load(name).columns) <= set(small.columns)
    diverged = small.get("diverged", pd.Series(False, index=small.index))
    assert small[~diverged].notna().all().all()


def test_a_network_sees_every_epoch_and_one_seed_is_one_run():
    arguments = {"activation": "relu", "init": "he", "epochs": 12, "dataset": "digits"}
    first, again, other = (
        pd.DataFrame(studies.fashion_mnist_network(**arguments, seed=seed)) for seed in (0, 0, 1)
    )
    assert first.epoch.tolist() == list(range(1, 13))
    pd.testing.assert_frame_equal(first, again)
    assert (first.train_loss != other.train_loss).all()
    assert first.train_loss.is_monotonic_decreasing
    assert first.test_accuracy.iloc[-1] > 0.5


def test_a_penalty_and_top_k_make_zeros_and_decay_does_not_aim_at_them():
    def zeros(intervention, strength):
        rows = studies.accuracy_against_zeros("digits", intervention, strength, epochs=2, seeds=2)
        return pd.DataFrame(rows).set_index(["lr", "seed"]).loc[0.01].zeros.mean()

    plain = zeros("penalty", 0.0)
    assert zeros("penalty", 0.02) > plain + 0.1
    assert zeros("top-k", 8.0) == pytest.approx(1 - 8 / 64, abs=0.01)
    assert zeros("decay", 0.001) == pytest.approx(plain, abs=0.05)


def test_an_unknown_intervention_is_named():
    with pytest.raises(
        ValueError, match="unknown intervention 'dropout'; take 'penalty', 'decay' or 'top-k'"
    ):
        studies.accuracy_against_zeros("digits", "dropout", 0.5)


def test_gathered_products_have_a_time_for_each_way():
    timed = studies.sparse_products(width=16, zeros=0.75, batch=2, repeats=3)
    assert timed["active"] == 4
    assert min(timed["dense_us"], timed["ratio"], timed["masked_ratio"]) > 0
    with pytest.raises(ValueError, match="zeros must be at least 0 and below 1"):
        studies.sparse_products(width=16, zeros=1.0, batch=1)


@pytest.fixture
def trained(monkeypatch):
    """What a study hands to `training.train`, in place of the training."""
    calls = []

    def train(build, dataset, **settings):
        calls.append((build(seed=0), dataset, settings))
        raise StopIteration

    monkeypatch.setattr(studies.training, "train", train)
    return calls


@pytest.mark.parametrize(("init", "expected"), [("torch", 1 / 3), ("xavier", 1.0), ("he", 2.0)])
@pytest.mark.parametrize("activation", ["sigmoid", "relu"])
def test_trainability_has_one_scale_of_weights_for_all_activations(init, expected, activation, trained):
    with pytest.raises(StopIteration):
        studies.trainability(activation, init, 3, "sgd", width=300)
    model, dataset, settings = trained[0]
    assert dataset.name == "mnist1d"
    assert 300 * model.linear_2.weight.square().mean().item() == pytest.approx(expected, rel=0.03)
    assert (model.linear_2.bias == 0).all() == (init != "torch")
    assert settings["momentum"] == 0.9


def test_the_optimizers_of_trainability_are_what_they_are_called(trained):
    for optimizer in ("sgd", "adam", "normalised"):
        with pytest.raises(StopIteration):
            studies.trainability("relu", "he", 2, optimizer)
    sgd, adam, normalised = (settings for _, _, settings in trained)
    assert adam["optimizer"] == "adam"
    assert "optimizer" not in sgd
    assert "optimizer" not in normalised
    assert normalised["normalize_gradients"]
    for settings in (sgd, adam, normalised):
        ratios = [later / earlier for earlier, later in itertools.pairwise(settings["lr"])]
        assert ratios == pytest.approx([4.0] * len(ratios))


@pytest.mark.parametrize(
    ("arm", "mean", "kink"),
    [
        ("ReLU", 0.3989, True),
        ("ReLU, mean 0", 0.0, True),
        ("softplus", 0.8061, False),
        ("softplus, mean of ReLU", 0.3989, False),
        ("softplus, mean 0", 0.0, False),
        ("softplus, β = 4", 0.44, False),
        ("softplus, β = 16", 0.4, False),
    ],
)
def test_the_arms_between_relu_and_softplus_have_the_means_and_kinks_of_their_names(arm, mean, kink, trained):
    with pytest.raises(StopIteration):
        studies.kinks_and_means(arm, 3, "sgd", "digits")
    model, _, _ = trained[0]
    assert theory.gaussian_mean(model.activation_1.double()) == pytest.approx(mean, abs=5e-3)
    z = torch.tensor([-1e-4, 1e-4], dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(model.activation_1(z).sum(), z)
    assert (slope[1] - slope[0] == 1) == kink
    assert 64 * model.linear_1.weight.square().mean().item() == pytest.approx(2, rel=0.15)


def test_an_arm_has_a_row_for_each_rate_and_seed():
    rows = pd.DataFrame(studies.kinks_and_means("softplus", 1, "adam", "digits", width=4, epochs=1, seeds=3))
    assert rows.groupby("lr").seed.apply(list).tolist() == [[0, 1, 2]] * 5
    assert list(rows) == ["lr", "seed", "train_loss", "validation_accuracy", "test_accuracy", "diverged"]


@pytest.fixture
def tables(tmp_path, monkeypatch):
    monkeypatch.setattr(studies, "_TABLES", tmp_path)
    return tmp_path


def test_what_is_written_is_loaded_with_the_versions_that_made_it(tables):
    (name, *_) = STUDIES
    table = pd.DataFrame({"activation": ["relu"], "epochs": [3], "loss": [1 / 3]})
    path = write(name, table, 61.4)
    assert path.parent == tables
    assert [file.name for file in tables.iterdir()] == [path.name]
    loaded = load(name)
    pd.testing.assert_frame_equal(loaded, table.assign(loss=0.333333))
    assert loaded.attrs["seconds"] == 61


def count(a):
    return {"b": 2 * a}


def test_the_command_runs_a_study_and_goes_on_where_it_was(tables, tmp_path, monkeypatch, capsys):
    (name, *_) = STUDIES
    small = Study("What is twice a?", count, [{"a": 1}, {"a": 2}], [{"a": 1}], 1)
    monkeypatch.setitem(STUDIES, name, small)
    monkeypatch.setattr(studies.pooch, "os_cache", lambda project: tmp_path / project)
    assert studies.main([name]) == 0
    assert load(name).b.tolist() == [2, 4]
    said = capsys.readouterr().out
    assert "What is twice a? About 1 minutes" in said
    kept = tmp_path / "rectified" / "studies" / name
    assert str(kept) in said
    assert len(list(kept.iterdir())) == 2


def test_the_command_lists_the_studies_and_how_long_they_take(capsys):
    assert studies.main([]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines] == list(STUDIES)
    assert all("minutes on two processors" in line for line in lines)


@pytest.mark.parametrize("ask", [load, run, lambda name: write(name, pd.DataFrame(), 0)])
def test_an_unknown_study_is_named_with_those_that_exist(ask):
    with pytest.raises(ValueError, match=f"'no-such-study'.*{next(iter(STUDIES))}"):
        ask("no-such-study")


def test_the_command_refuses_an_unknown_study(capsys):
    with pytest.raises(SystemExit):
        studies.main(["no-such-study"])
    assert next(iter(STUDIES)) in capsys.readouterr().err


@pytest.mark.parametrize(
    ("source", "same"),
    [
        ('def f(a):\n    """Double it."""\n    # so\n    return (2 *\n            a)\n', True),
        ("def f(a):\n    return 3 * a\n", False),
        ("def f(a, b=1):\n    return 2 * a\n", False),
    ],
)
def test_a_fingerprint_is_of_what_a_function_does_and_not_of_its_words(source, same, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    prints = []
    for number, text in enumerate(["def f(a):\n    return 2 * a\n", source]):
        name = f"module_{abs(hash(source)):x}_{number}"
        (tmp_path / f"{name}.py").write_text(text)
        prints.append(studies._fingerprint(__import__(name).f))
    assert (prints[0] == prints[1]) == same
