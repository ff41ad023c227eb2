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

    def written(point: dict) -> str:  # as a table has it, with six digits
        return str({k: f"{value:.6g}" if isinstance(value, float) else value for k, value in point.items()})

    assert set(map(written, stored)) == set(map(written, grid))
    assert len(stored) == len(grid)


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


@pytest.mark.parametrize(("sigma_w", "sigma_b"), [(0.7, 0.0), (2.0, 0.4)])
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_a_network_of_the_phase_diagram_starts_at_its_point(optimizer, sigma_w, sigma_b, trained):
    with pytest.raises(StopIteration):
        studies.phase_diagram("tanh", optimizer, 3, sigma_w, sigma_b, width=500, device="meta")
    model, dataset, settings = trained[0]
    assert dataset.name == "digits"
    assert [len(layer.weight) for layer in (model.linear_1, model.linear_2, model.linear_3)] == [500] * 3
    for layer in (model.linear_1, model.linear_3):
        spread = layer.weight.shape[1] * layer.weight.square().mean().item()
        assert spread == pytest.approx(sigma_w**2, rel=0.03)
        assert layer.bias.square().mean().item() == pytest.approx(sigma_b**2, rel=0.2)
    assert settings["optimizer"] == optimizer
    assert settings["device"] == "meta"
    assert settings["lr"] == sorted(settings["lr"])


def test_a_point_of_the_phase_diagram_has_a_row_for_each_network():
    rows = studies.phase_diagram("relu", "sgd", 2, 1.4, width=8, epochs=2, seeds=3, rates=[0.1, 1e30])
    table = pd.DataFrame(rows)
    assert table.groupby("lr").seed.apply(list).tolist() == [[0, 1, 2]] * 2
    assert table.diverged.tolist() == [False] * 3 + [True] * 3
    assert table.train_accuracy.isna().tolist() == table.diverged.tolist()


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


@pytest.fixture(scope="module")
def recycled():
    """Small networks at rates up to one that kills units, with and without recycling."""
    return pd.DataFrame(studies.recycling("adam", "digits", width=16, depth=2, epochs=4, seeds=2))


def test_the_arms_of_recycling_share_their_rates_and_seeds(recycled):
    assert list(recycled) == [
        *["arm", "lr", "seed", "train_loss", "train_accuracy", "validation_accuracy", "test_accuracy"],
        *["dead_1", "dead_2", "recycled", "diverged"],
    ]
    runs = recycled.set_index(["lr", "seed"])
    arms = ["none", "dead", "dead, outgoing kept", "living"]
    assert recycled.arm.unique().tolist() == arms
    assert all(runs[runs.arm == arm].index.equals(runs[runs.arm == "none"].index) for arm in arms)
    rates = recycled.lr.unique()
    assert [later / earlier for earlier, later in itertools.pairwise(rates)] == pytest.approx([2.0] * 5)


def test_nothing_is_recycled_in_the_arm_none_and_dead_units_are_fewer_where_they_are(recycled):
    starts = recycled.groupby("arm").recycled.sum()
    dead = recycled.groupby(["arm", "lr"])[["dead_1", "dead_2"]].mean().mean(axis=1)
    assert starts["none"] == 0
    assert starts["dead"] > 20
    assert dead["dead", 0.08] < 0.5 * dead["none", 0.08]


def test_as_many_living_units_are_recycled_as_dead_ones_while_enough_live(recycled):
    starts = recycled.pivot(index=["lr", "seed"], columns="arm", values="recycled")
    assert (starts["living"] <= starts["dead"]).all()
    assert starts["living"].loc[:0.02].equals(starts["dead"].loc[:0.02])
    losses = recycled.pivot(index=["lr", "seed"], columns="arm", values="train_loss")
    assert losses["living"].mean() > losses["dead"].mean()


def test_recycling_is_the_plain_training_where_no_unit_dies(monkeypatch):
    monkeypatch.setattr(studies.networks, "recycle_units", lambda model, layer, units, **_: None)
    rows = pd.DataFrame(studies.recycling("sgd", "digits", width=16, depth=1, epochs=2, seeds=1))
    losses = rows.pivot(index="lr", columns="arm", values="train_loss")
    assert all(losses[arm].equals(losses["none"]) for arm in losses)


@pytest.mark.parametrize(
    ("arm", "forward", "backward", "variance"),
    [
        ("ReLU", 0.0, 0.0, 2.0),
        ("leaky 0.01", 0.01, 0.01, 2 / 1.0001),
        ("leaky 0.2", 0.2, 0.2, 2 / 1.04),
        ("leaky 11/48", 11 / 48, 11 / 48, 2 / (1 + (11 / 48) ** 2)),
        ("PReLU", 0.25, 0.25, 2 / 1.0625),
        ("leaky 0.2, ReLU's gain", 0.2, 0.2, 2.0),
        ("ReLU, leaky gradient", 0.0, 0.2, 2.0),
        ("leaky, ReLU's gradient", 0.2, 0.0, 2.0),
    ],
)
def test_the_remedies_start_with_the_slopes_and_the_gain_of_their_names(
    arm, forward, backward, variance, trained
):
    with pytest.raises(StopIteration):
        studies.remedies(arm, 3, "sgd", width=300)
    model, _, settings = trained[0]
    z = torch.tensor([-2.0, 3.0], requires_grad=True)
    h = model.activation_2(z)
    assert h.tolist() == pytest.approx([-2 * forward, 3.0])
    assert torch.autograd.grad(h.sum(), z)[0].tolist() == pytest.approx([backward, 1.0])
    assert 300 * model.linear_2.weight.square().mean().item() == pytest.approx(variance, rel=0.02)
    assert settings["momentum"] == 0.9


def test_the_arms_of_one_gain_start_from_the_same_weights(trained):
    for arm in ("ReLU", "ReLU, leaky gradient", "GELU", "SELU"):
        with pytest.raises(StopIteration):
            studies.remedies(arm, 3, "adam", width=8)
    relu, crossed, gelu, selu = (model.linear_2.weight for model, _, _ in trained)
    assert torch.equal(relu, crossed)
    assert torch.equal(relu, gelu)
    torch.testing.assert_close(relu, selu * 2**0.5)


def test_a_remedy_has_a_row_for_each_rate_and_seed_and_only_prelu_has_slopes():
    small = {"dataset": "digits", "width": 4, "epochs": 1, "batch_size": 300, "seeds": 2}
    relu, prelu = (pd.DataFrame(studies.remedies(arm, 2, "adam", **small)) for arm in ("ReLU", "PReLU"))
    assert relu.groupby("lr").seed.apply(list).tolist() == [[0, 1]] * 7
    assert set(relu.slopes) == {""}
    slopes = prelu.slopes.str.split(expand=True).astype(float)
    assert slopes.shape == (14, 2)
    assert slopes.iloc[0].tolist() == pytest.approx([0.25, 0.25], abs=0.01)
    assert (relu.worst_layer >= relu.all_negative).all()
    assert (relu[["first_gradient", "last_gradient", "born_gradient"]] > 0).all().all()


@pytest.mark.parametrize(
    ("scheme", "activation", "variance", "biases"),
    [
        ("torch", "relu", 1 / 3, True),
        ("torch, no biases", "relu", 1 / 3, False),
        ("lecun", "relu", 1.0, False),
        ("xavier", "relu", 1.0, False),
        ("he", "relu", 2.0, False),
        ("he", "tanh", 1.0, False),
        ("he, gain sqrt(2)", "tanh", 2.0, False),
        ("he, torch's biases", "relu", 2.0, True),
        ("orthogonal", "relu", 2.0, False),
        ("looks-linear", "relu", 2.0, False),
    ],
)
def test_the_schemes_start_with_the_weights_and_biases_of_their_names(
    scheme, activation, variance, biases, trained
):
    with pytest.raises(StopIteration):
        studies.schemes(scheme, 3, "sgd", activation=activation, width=300)
    model, dataset, settings = trained[0]
    assert dataset.name == "digits"
    assert 300 * model.linear_2.weight.square().mean().item() == pytest.approx(variance, rel=0.03)
    assert (model.linear_2.bias != 0).any() == biases
    assert settings["momentum"] == 0.9


def test_the_schemes_share_a_draw_where_only_scale_or_biases_differ(trained):
    for scheme in ("torch", "torch, no biases", "he", "he, torch's biases"):
        with pytest.raises(StopIteration):
            studies.schemes(scheme, 3, "adam", width=8)
    default, without, he, mixed = (model for model, _, _ in trained)
    assert torch.equal(default.linear_2.weight, without.linear_2.weight)
    assert torch.equal(he.linear_2.weight, mixed.linear_2.weight)
    assert torch.equal(default.linear_2.bias, mixed.linear_2.bias)


def test_a_scheme_has_a_row_for_each_rate_and_seed_and_counts_units_before_and_after():
    rows = pd.DataFrame(studies.schemes("lsuv", 2, "adam", width=6, epochs=1, batch_size=300, seeds=2))
    assert rows.groupby("lr").seed.apply(list).tolist() == [[0, 1]] * 9
    assert (rows.worst >= rows.dead).all()
    assert (rows.born_worst >= rows.born_dead).all()
    assert rows.groupby("seed").born_dead.nunique().tolist() == [1, 1]
    assert rows.test_accuracy.between(0, 1).all()


@pytest.fixture
def tables(tmp_path, monkeypatch):
    monkeypatch.setattr(studies, "_TABLES", tmp_path)
    return tmp_path


def test_an_arm_of_norms_and_skips_has_the_parts_of_its_name(trained):
    for arm in ("none", "batch", "layer, plain", "zero", "clipping", "warm-up"):
        with pytest.raises(StopIteration):
            studies.norms_and_skips(arm, "he", 2, width=4)
    none, batch, both, zero, clipping, warm_up = (
        dict(model.named_modules()).keys() for model, _, _ in trained
    )
    assert none == clipping == warm_up
    assert "norm_1" in batch
    assert "block_1" not in batch
    assert "block_1.norm" in both
    assert "block_1" in zero
    assert "block_1.norm" not in zero


def test_only_clipping_and_warm_up_change_the_steps_of_norms_and_skips(trained):
    for arm in ("none", "clipping", "warm-up"):
        with pytest.raises(StopIteration):
            studies.norms_and_skips(arm, "he", 2, width=4)
    plain, clipped, warmed = (settings for _, _, settings in trained)
    assert clipped == plain | {"clip_norm": 1.0}
    assert warmed == plain | {"warmup_steps": 44}  # a fifth of 20 epochs of 11 steps


def test_large_weights_of_norms_and_skips_are_twice_he(trained):
    for init in ("he", "large"):
        with pytest.raises(StopIteration):
            studies.norms_and_skips("none", init, 2, width=4)
    he, large = (model.linear_2.weight for model, _, _ in trained)
    torch.testing.assert_close(large, 2 * he)


def test_the_default_but_for_the_output_differs_from_it_there_only_and_is_of_he_size(trained):
    for init in ("torch", "torch, output"):
        with pytest.raises(StopIteration):
            studies.norms_and_skips("layer", init, 2, width=300)
    default, changed = (model for model, _, _ in trained)
    assert torch.equal(default.linear_2.weight, changed.linear_2.weight)
    assert torch.equal(default.output.bias, changed.output.bias)
    assert 300 * changed.output.weight.square().mean().item() == pytest.approx(2, rel=0.1)


def test_fine_rates_of_norms_and_skips_are_two_times_apart(trained):
    with pytest.raises(StopIteration):
        studies.norms_and_skips("batch", "he", 2, "normalised", width=4, epochs=7, rates="fine")
    (_, _, settings), *_ = trained
    assert settings["lr"] == [2.0**power for power in range(-10, -3)]
    assert settings["normalize_gradients"]
    assert settings["epochs"] == 7


def test_norms_and_skips_gives_the_loss_with_the_statistics_of_the_split_beside_the_evaluated_one():
    small = {"width": 8, "epochs": 1, "seeds": 2}
    none, batch = (pd.DataFrame(studies.norms_and_skips(arm, "he", 2, **small)) for arm in ("none", "batch"))
    alive = ~none.diverged
    assert none.batch_loss[alive].tolist() == pytest.approx(none.train_loss[alive].tolist(), rel=1e-5)
    assert (batch.batch_loss - batch.train_loss).abs().max() > 1e-3
    assert set(zip(none.lr, none.seed, strict=True)) == set(zip(batch.lr, batch.seed, strict=True))


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
