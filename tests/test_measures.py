"""The measures against inputs whose answers are known in closed form."""

import doctest
import itertools
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from helpers import activations, measures

NAN, INF = math.nan, math.inf


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def relu_code(samples: int, units: int, seed: int = 0) -> Tensor:
    return torch.randn(samples, units, generator=generator(seed), dtype=torch.float64).relu()


def test_docstring_examples_give_what_they_say():
    result = doctest.testmod(measures, extraglobs={"torch": torch, "nn": nn})
    assert result.attempted > 15
    assert result.failed == 0


# What holds for all measures of a matrix.

OF_STATES = [
    measures.dead_units,
    measures.always_on_units,
    lambda h: measures.dormant_units(h, tau=0.1),
]
OF_MATRIX = [
    *OF_STATES,
    lambda h: measures.saturated_fraction(h, torch.tanh),
    measures.hoyer,
    measures.gini,
    measures.population_sparseness,
    measures.lifetime_sparseness,
    lambda h: measures.support_jaccard(h, h),
    measures.effective_rank,
    lambda h: measures.linear_separability(h, torch.tensor([0, 1]), h, torch.tensor([0, 1])),
]
OF_ANY_SHAPE = [measures.zero_fraction, measures.negative_fraction]
OF_STACKS = [measures.mean_cosine]
SPARSENESS = [
    measures.hoyer,
    measures.gini,
    measures.population_sparseness,
    measures.lifetime_sparseness,
    measures.effective_rank,
]


@pytest.mark.parametrize("measure", OF_MATRIX + OF_ANY_SHAPE + OF_STACKS)
def test_what_is_no_tensor_is_refused(measure: Callable):
    with pytest.raises(TypeError, match=r"must be a torch.Tensor, but is a list; try torch.as_tensor"):
        measure([[1.0, 2.0], [3.0, 4.0]])


@pytest.mark.parametrize("measure", OF_MATRIX + OF_ANY_SHAPE + OF_STACKS)
def test_complex_numbers_are_refused(measure: Callable):
    with pytest.raises(TypeError, match=r"must be real, but its dtype is torch.complex64; try \w+.abs\(\)"):
        measure(torch.ones(2, 2, dtype=torch.complex64))


@pytest.mark.parametrize("measure", OF_MATRIX + OF_ANY_SHAPE + OF_STACKS)
@pytest.mark.parametrize("shape", [(0, 3), (3, 0)])
def test_an_empty_matrix_is_refused(measure: Callable, shape: tuple[int, int]):
    with pytest.raises(ValueError, match=r"must have at least one element, but its shape is \(\d, \d\)"):
        measure(torch.ones(shape))


@pytest.mark.parametrize("measure", OF_MATRIX)
@pytest.mark.parametrize("shape", [(3,), (2, 3, 4, 4)])
def test_another_shape_than_samples_by_units_is_refused(measure: Callable, shape: tuple[int, ...]):
    with pytest.raises(
        ValueError, match=r"shape \(samples, units\), but its shape is \(.*\); try \w+.flatten\(1\)"
    ):
        measure(torch.ones(shape))


@pytest.mark.parametrize("measure", OF_ANY_SHAPE + OF_STACKS + SPARSENESS + [OF_MATRIX[3], OF_MATRIX[8]])
@pytest.mark.parametrize("bad", [NAN, INF, -INF])
def test_a_diverged_network_has_no_value(measure: Callable, bad: float):
    result = torch.as_tensor(measure(torch.tensor([[bad, 1.0], [bad, 0.0]])), dtype=torch.float64)
    assert result.isnan().any()
    assert not result.isinf().any()


@pytest.mark.parametrize("measure", SPARSENESS + OF_STACKS)
@pytest.mark.parametrize("scale", [1e-30, 1e-4, -3.0, 1e30])
def test_sparseness_does_not_depend_on_scale_and_sign(measure: Callable, scale: float):
    h = torch.randn(40, 30, generator=generator(), dtype=torch.float64).relu().float()
    expected = torch.as_tensor(measure(h))
    torch.testing.assert_close(torch.as_tensor(measure(scale * h)), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("measure", SPARSENESS + OF_STACKS)
def test_sparseness_survives_numbers_whose_squares_overflow(measure: Callable):
    h = relu_code(20, 10)
    for scale in (2.0**600, 2.0**-600):
        torch.testing.assert_close(torch.as_tensor(measure(scale * h)), torch.as_tensor(measure(h)))


def test_order_of_samples_and_units_does_not_matter():
    h = relu_code(40, 30)
    samples, units = torch.randperm(40, generator=generator()), torch.randperm(30, generator=generator())
    shuffled = h[samples][:, units]
    for measure in (measures.hoyer, measures.gini, measures.population_sparseness):
        torch.testing.assert_close(measure(shuffled), measure(h)[samples])
    torch.testing.assert_close(measures.lifetime_sparseness(shuffled), measures.lifetime_sparseness(h)[units])
    assert measures.effective_rank(shuffled) == pytest.approx(measures.effective_rank(h))
    assert measures.zero_fraction(shuffled) == measures.zero_fraction(h)


def test_results_are_detached_float64():
    h = torch.rand(4, 3, generator=generator(), requires_grad=True)
    for measure in (
        measures.hoyer,
        measures.gini,
        measures.population_sparseness,
        measures.lifetime_sparseness,
    ):
        assert measure(h).dtype == torch.float64
        assert not measure(h).requires_grad


# Zeros, and units that are dead or dormant.


def test_half_of_a_random_relu_code_is_zero():
    assert measures.zero_fraction(relu_code(1000, 400)) == pytest.approx(1 / 2, abs=0.004)


def test_zeros_and_negatives_are_counted_over_any_shape():
    h = torch.tensor([[[0.0, -1.0], [2.0, 0.0]], [[-0.0, -3.0], [4.0, 5.0]]])
    assert measures.zero_fraction(h) == 3 / 8
    assert measures.negative_fraction(h) == 2 / 8


def test_a_subnormal_activation_is_not_zero():
    assert measures.zero_fraction(torch.tensor([1e-45, 1.0])) == 0


def test_a_unit_is_dead_if_it_is_zero_for_every_sample():
    h = torch.tensor([[0.0, 0.0, 1.0, -1.0], [0.0, 1e-30, 1.0, 1.0]])
    assert measures.dead_units(h).tolist() == [True, False, False, False]


@pytest.mark.parametrize("measure", OF_STATES)
@pytest.mark.parametrize("bad", [NAN, INF])
def test_a_diverged_unit_is_neither_dead_nor_alive(measure: Callable, bad: float):
    with pytest.raises(ValueError, match=r"NaN or infinity in 1 of 2 units: a diverged network.*isfinite"):
        measure(torch.tensor([[0.0, bad], [0.0, 0.0]]))


def test_always_on_units_are_positive_for_every_sample():
    z = torch.tensor([[1.0, 1.0, 0.0, -1.0], [2.0, -1.0, 1.0, -2.0]])
    assert measures.always_on_units(z).tolist() == [True, False, False, False]
    assert measures.always_on_units(torch.relu(z)).equal(measures.always_on_units(z))


FATES = {  # dead at four looks: deaths, revivals, in a word
    (False, False, False, False): (0, 0, "never dead"),
    (True, True, True, True): (0, 0, "born dead"),
    (False, True, True, True): (1, 0, "died"),
    (False, False, False, True): (1, 0, "died"),
    (True, False, False, False): (0, 1, "revived"),
    (False, True, False, False): (1, 1, "revived"),
    (True, False, True, True): (1, 1, "died"),
    (False, True, False, True): (2, 1, "died"),
    (True, False, True, False): (1, 2, "revived"),
}


def test_the_fate_of_a_unit_is_read_off_its_states_in_order():
    fates = measures.unit_fates(torch.tensor(list(FATES)).T)
    assert list(zip(fates.deaths.tolist(), fates.revivals.tolist(), fates.words(), strict=True)) == list(
        FATES.values()
    )
    assert fates.born_dead.tolist() == [states[0] for states in FATES]
    assert fates.ever_dead.tolist() == [any(states) for states in FATES]
    assert fates.dead_at_end.tolist() == [states[-1] for states in FATES]


def test_a_single_look_shows_no_death_and_no_revival():
    assert measures.unit_fates(torch.tensor([[True, False]])).words() == ["born dead", "never dead"]


@pytest.mark.parametrize(
    ("dead", "error", "message"),
    [
        (torch.zeros(3, 2), TypeError, "boolean tensor, .* but is of torch.float32"),
        ([[True]], TypeError, "but is of list"),
        (
            torch.zeros(3, dtype=torch.bool),
            ValueError,
            r"\(times, units\) .* shape is \(3,\); try torch.stack",
        ),
        (torch.zeros(0, 3, dtype=torch.bool), ValueError, "not be empty"),
    ],
)
def test_unit_fates_says_what_it_takes(dead: object, error: type, message: str):
    with pytest.raises(error, match=message):
        measures.unit_fates(dead)


def test_dormant_units_have_a_small_share_of_the_mean_magnitude():
    h = torch.tensor(
        [[0.2, 3.0, -1.0, 0.0], [0.0, 3.0, 0.6, 0.0]]
    )  # mean magnitudes 0.1, 3.0, 0.8, 0.0; mean 0.975
    assert measures.dormant_units(h, tau=0.1).tolist() == [False, False, False, True]
    assert measures.dormant_units(h, tau=0.11).tolist() == [True, False, False, True]
    assert measures.dormant_units(h, tau=1.0).tolist() == [True, False, True, True]


def test_dormancy_does_not_depend_on_scale():
    h = relu_code(50, 20) * torch.linspace(0, 1, 20)
    assert 0 < measures.dormant_units(h, 0.2).sum() < 20
    assert measures.dormant_units(1e-20 * h, 0.2).equal(measures.dormant_units(h, 0.2))


@pytest.mark.parametrize("dead", [0, 3, 8])
def test_units_that_are_dormant_at_zero_are_the_dead_ones(dead: int):
    h = relu_code(50, 8)
    h[:, :dead] = 0
    assert measures.dormant_units(h, tau=0).equal(measures.dead_units(h))
    assert measures.dead_units(h).sum() == dead


@pytest.mark.parametrize("tau", [-0.1, NAN, INF])
def test_a_tau_that_is_no_threshold_is_refused(tau: float):
    with pytest.raises(ValueError, match=f"tau must be a finite number of at least 0, but is {tau}"):
        measures.dormant_units(torch.ones(2, 2), tau)


# Saturation.


def test_sigmoid_saturates_where_its_slope_falls_below_the_threshold():
    # slope / (1/4) = 1 / cosh²(z/2), which is 0.05 at z = 2 arcosh(√20)
    edge = 2 * math.acosh(math.sqrt(20))
    z = torch.tensor([[edge - 1e-3, edge + 1e-3, 1 - edge, -edge - 1e-3]], dtype=torch.float64)
    assert measures.saturated_fraction(z, nn.Sigmoid()) == 1 / 2
    assert measures.saturated_fraction(z, torch.sigmoid, threshold=1e-3) == 0


def test_relu_is_saturated_at_every_negative_preactivation():
    z = torch.randn(200, 10, generator=generator())
    assert measures.saturated_fraction(z, nn.ReLU()) == measures.negative_fraction(z)


def test_a_linear_activation_never_saturates():
    assert measures.saturated_fraction(torch.randn(50, 4, generator=generator()), nn.Identity()) == 0


def test_saturation_is_relative_to_each_activations_own_steepest_slope():
    z = torch.randn(500, 10, generator=generator())
    tanh = measures.saturated_fraction(3 * z, torch.tanh)
    assert 0 < tanh < 1
    assert measures.saturated_fraction(3 * z, lambda u: 1e-6 * torch.tanh(u)) == tanh
    assert measures.saturated_fraction(6 * z, torch.sigmoid) == pytest.approx(
        tanh, abs=1e-3
    )  # tanh(z) = 2σ(2z) − 1


@pytest.mark.parametrize("name", activations.NAMES)
def test_saturation_is_measured_for_every_activation_of_the_catalogue(name: str):
    z = torch.randn(300, 5, generator=generator())
    fraction = measures.saturated_fraction(z, activations.make(name))
    assert math.isnan(fraction) if name == "relu_squared" else 0 <= fraction < 0.6


def test_an_activation_with_a_slope_for_each_unit_is_measured_unit_by_unit():
    prelu = nn.PReLU(3)
    with torch.no_grad():
        prelu.weight.copy_(torch.tensor([0.0, 0.01, 0.5]))
    z = torch.tensor([[-1.0, -1.0, -1.0], [1.0, 1.0, 1.0]])
    assert measures.saturated_fraction(z, prelu) == pytest.approx(2 / 6)


def test_an_activation_without_a_steepest_slope_has_no_saturation():
    z = torch.ones(2, 2)
    assert math.isnan(measures.saturated_fraction(z, torch.square))
    assert math.isnan(measures.saturated_fraction(z, lambda u: 0 * u))


def test_measuring_saturation_leaves_no_trace():
    z = torch.randn(5, 3, generator=generator())
    before, random_state = z.clone(), torch.get_rng_state()
    measures.saturated_fraction(z, nn.ReLU(inplace=True))
    prelu, rrelu = nn.PReLU(), activations.make("rrelu", seed=1)
    with torch.no_grad():
        measures.saturated_fraction(z, prelu)
    measures.saturated_fraction(z, rrelu)
    assert z.equal(before)
    assert prelu.weight.grad is None
    assert rrelu.training
    assert rrelu(z).equal(activations.make("rrelu", seed=1)(z))
    assert torch.get_rng_state().equal(random_state)


@pytest.mark.parametrize("threshold", [0, -1, 1.5, NAN])
def test_a_threshold_that_is_no_share_is_refused(threshold: float):
    with pytest.raises(ValueError, match=f"threshold must lie above 0 and not above 1, but is {threshold}"):
        measures.saturated_fraction(torch.ones(2, 2), torch.tanh, threshold)


def test_integers_have_no_slope():
    with pytest.raises(
        TypeError, match=r"z must be floating point, but its dtype is torch.int64; try z.float\(\)"
    ):
        measures.saturated_fraction(torch.ones(2, 2, dtype=torch.int64), torch.tanh)


def test_what_is_not_element_wise_has_no_slope():
    with pytest.raises(
        ValueError, match=r"act element by element, but turned the shape \(3203, 2\) into \(3203, 1\)"
    ):
        measures.saturated_fraction(torch.ones(2, 2), nn.GLU())


def test_what_is_not_differentiable_has_no_slope():
    with pytest.raises(ValueError, match="must be differentiable by autograd"):
        measures.saturated_fraction(torch.ones(2, 2), lambda u: (u > 0).float())


# Sparseness.


def test_sparseness_of_a_wide_random_relu_code_is_known():
    h = relu_code(100, 10_000)
    assert measures.population_sparseness(h).mean() == pytest.approx(1 - 1 / math.pi, abs=2e-3)
    assert measures.lifetime_sparseness(h.T).mean() == pytest.approx(1 - 1 / math.pi, abs=2e-3)
    assert measures.hoyer(h).mean() == pytest.approx(
        1 - 1 / math.sqrt(math.pi), abs=6e-3
    )  # 0.0044 below at this width
    assert measures.gini(h).mean() == pytest.approx(1 / math.sqrt(2), abs=2e-3)


@pytest.mark.parametrize("width", [64, 400, 2500])
def test_hoyer_depends_on_width_and_population_sparseness_hardly(width: int):
    h = relu_code(1000, width)
    expected = (1 - 1 / math.sqrt(math.pi)) / (1 - 1 / math.sqrt(width))
    assert measures.hoyer(h).mean() == pytest.approx(expected, abs=5e-3)
    assert measures.population_sparseness(h).mean() == pytest.approx(1 - 1 / math.pi, abs=0.01)


@pytest.mark.parametrize("active", [1, 2, 5, 10])
def test_sparseness_of_k_equal_units_of_n_is_known(active: int):
    n = 10
    h = torch.zeros(1, n)
    h[0, :active] = 0.7
    assert measures.population_sparseness(h)[0] == pytest.approx((1 - active / n) / (1 - 1 / n))
    assert measures.lifetime_sparseness(h.T)[0] == pytest.approx((1 - active / n) / (1 - 1 / n))
    assert measures.gini(h)[0] == pytest.approx(1 - active / n)
    assert measures.hoyer(h)[0] == pytest.approx((n**0.5 - active**0.5) / (n**0.5 - 1))


def test_gini_is_half_the_relative_mean_absolute_difference():
    h = torch.randn(7, 23, generator=generator(), dtype=torch.float64)
    magnitude = h.abs()
    difference = (magnitude[:, :, None] - magnitude[:, None, :]).abs().mean(dim=(1, 2))
    torch.testing.assert_close(measures.gini(h), difference / (2 * magnitude.mean(dim=1)))


def test_lifetime_sparseness_is_population_sparseness_of_the_transpose():
    h = relu_code(9, 6)
    torch.testing.assert_close(measures.lifetime_sparseness(h), measures.population_sparseness(h.T))


@pytest.mark.parametrize("measure", [measures.hoyer, measures.gini, measures.population_sparseness])
def test_a_silent_sample_has_no_sparseness(measure: Callable):
    result = measure(torch.tensor([[0.0, 0.0, 0.0], [0.0, 1.0, 2.0]]))
    assert result.isnan().tolist() == [True, False]


def test_a_dead_unit_has_no_lifetime_sparseness():
    result = measures.lifetime_sparseness(torch.tensor([[0.0, 1.0], [0.0, 0.0], [0.0, 0.0]]))
    assert result.isnan().tolist() == [True, False]
    assert result[1] == 1


def test_population_sparseness_cannot_tell_dead_from_selective_units():
    selective, dead = torch.eye(4), torch.zeros(4, 4)
    dead[:, 0] = 1
    assert measures.population_sparseness(selective).equal(measures.population_sparseness(dead))
    assert measures.dead_units(selective).sum() == 0
    assert measures.dead_units(dead).sum() == 3


def test_one_number_has_no_sparseness():
    assert measures.hoyer(torch.ones(3, 1)).isnan().all()
    assert measures.population_sparseness(torch.ones(3, 1)).isnan().all()
    assert measures.lifetime_sparseness(torch.ones(1, 3)).isnan().all()


def test_a_nan_stays_in_its_sample_or_unit():
    h = torch.tensor([[1.0, 2.0, 3.0], [1.0, NAN, 3.0], [2.0, INF, 1.0]])
    for measure in (measures.hoyer, measures.gini, measures.population_sparseness):
        assert measure(h).isnan().tolist() == [False, True, True]
    assert measures.lifetime_sparseness(h).isnan().tolist() == [False, True, False]


# Overlap of supports.


@pytest.mark.parametrize("theta", [0.2, math.pi / 3, math.pi / 2, 2.5])
def test_support_overlap_of_relu_codes_follows_the_angle_between_them(theta: float):
    z = torch.randn(200, 5000, generator=generator(0), dtype=torch.float64)
    noise = torch.randn(200, 5000, generator=generator(1), dtype=torch.float64)
    other = math.cos(theta) * z + math.sin(theta) * noise
    overlap = measures.support_jaccard(z.relu(), other.relu())
    assert overlap.shape == (200,)
    assert overlap.mean() == pytest.approx((math.pi - theta) / (math.pi + theta), abs=3e-3)


def test_overlap_counts_common_units_among_active_ones():
    h = torch.tensor([[1.0, 2.0, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]])
    other = torch.tensor([[5.0, 0.0, -1.0, 0.0], [9.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]])
    overlap = measures.support_jaccard(h, other)
    assert overlap[:2].tolist() == [1 / 3, 1.0]
    assert overlap[2].isnan()


def test_threshold_makes_a_unit_inactive():
    h = torch.tensor([[0.1, 2.0, -0.25]])
    assert measures.support_jaccard(h, torch.ones(1, 3), threshold=0.25).item() == 1 / 3


def test_a_dense_code_overlaps_trivially_but_its_sign_pattern_does_not():
    h, other = torch.tensor([[0.5, -0.5, 0.1]]).tanh(), torch.tensor([[0.5, 0.5, -0.1]]).tanh()
    assert measures.support_jaccard(h, other).item() == 1
    assert measures.support_jaccard(h > 0, other > 0).item() == 1 / 3


def test_codes_of_different_shapes_do_not_overlap():
    with pytest.raises(ValueError, match=r"must have the same shape, but have \(2, 3\) and \(2, 4\)"):
        measures.support_jaccard(torch.ones(2, 3), torch.ones(2, 4))


@pytest.mark.parametrize("threshold", [-1.0, NAN])
def test_a_negative_threshold_is_refused(threshold: float):
    with pytest.raises(ValueError, match=f"threshold must be at least 0, but is {threshold}"):
        measures.support_jaccard(torch.ones(2, 3), torch.ones(2, 3), threshold)


# Rank.


def test_effective_rank_counts_equal_singular_values():
    orthogonal = torch.linalg.qr(torch.randn(6, 6, generator=generator(), dtype=torch.float64)).Q
    for rank in (1, 3, 6):
        values = torch.tensor([2.0] * rank + [0.0] * (6 - rank), dtype=torch.float64)
        assert measures.effective_rank(orthogonal @ torch.diag(values)) == pytest.approx(rank)


def test_mean_cosine_is_the_mean_over_all_pairs():
    h = torch.randn(3, 7, 5, generator=generator())
    for one, value in zip(h, measures.mean_cosine(h), strict=True):
        pairs = [torch.cosine_similarity(a, b, dim=0) for a, b in itertools.combinations(one.double(), 2)]
        assert value.item() == pytest.approx(torch.stack(pairs).mean().item())


def test_mean_cosine_of_a_random_relu_code_is_that_of_theory():
    # Two independent Gaussian samples meet at 90 degrees; behind a rectifier their cosine is 1/pi.
    assert measures.mean_cosine(relu_code(200, 20_000)).item() == pytest.approx(1 / math.pi, abs=0.005)


def test_mean_cosine_leaves_out_samples_without_a_direction():
    h = torch.tensor([[1.0, 0.0], [0.0, 0.0], [3.0, 4.0]])
    assert measures.mean_cosine(h).item() == pytest.approx(0.6)
    assert measures.mean_cosine(h[:2]).isnan()
    assert measures.mean_cosine(h[:1]).isnan()


def test_mean_cosine_of_a_vector_is_refused():
    with pytest.raises(ValueError, match=r"\(\.\.\., samples, units\), but its shape is \(3,\)"):
        measures.mean_cosine(torch.ones(3))


def test_effective_rank_is_the_exponential_of_the_entropy():
    # shares 1/2, 1/4, 1/4: entropy 1.5 ln 2
    assert measures.effective_rank(torch.diag(torch.tensor([2.0, 1.0, 1.0]))) == pytest.approx(2**1.5)


def test_a_zero_matrix_has_no_rank():
    assert math.isnan(measures.effective_rank(torch.zeros(3, 3)))


# Linear separability.


def exclusive_or(samples: int, seed: int) -> tuple[Tensor, Tensor]:
    x = torch.rand(samples, 2, generator=generator(seed), dtype=torch.float64) * 2 - 1
    return x, (x[:, 0] * x[:, 1] > 0).long()


def test_exclusive_or_is_not_separable_until_the_product_is_a_feature():
    (x, y), (x_test, y_test) = exclusive_or(400, 0), exclusive_or(400, 1)
    raw = measures.linear_separability(x, y, x_test, y_test)
    assert 0.4 < raw.train_accuracy < 0.65
    assert 0.4 < raw.test_accuracy < 0.65
    product, product_test = x.prod(dim=1, keepdim=True), x_test.prod(dim=1, keepdim=True)
    solved = measures.linear_separability(product, y, product_test, y_test, C=1e6)
    assert solved.train_accuracy == 1
    assert solved.test_accuracy > 0.98


def test_noise_with_more_units_than_samples_is_separable_but_does_not_generalise():
    h, h_test = relu_code(40, 200, seed=0), relu_code(400, 200, seed=1)
    y = torch.randint(2, (40,), generator=generator(2))
    y_test = torch.randint(2, (400,), generator=generator(3))
    result = measures.linear_separability(h, y, h_test, y_test, C=1e6)
    assert result.train_accuracy == 1
    assert result.test_accuracy == pytest.approx(0.5, abs=0.12)


def test_separability_does_not_depend_on_scale_shift_or_dead_units():
    h, h_test = relu_code(120, 5, seed=0), relu_code(90, 5, seed=1)
    y, y_test = (h.sum(dim=1) > 2).long(), (h_test.sum(dim=1) > 2).long()
    expected = measures.linear_separability(h, y, h_test, y_test)
    scale = torch.tensor([1e-3, 1.0, 50.0, 7.0, 1e4], dtype=torch.float64)
    scaled = [torch.cat([scale * part + 3, torch.zeros(len(part), 1)], dim=1) for part in (h, h_test)]
    assert measures.linear_separability(scaled[0], y, scaled[1], y_test) == expected


def test_diverged_activations_are_not_classified():
    h, y = torch.tensor([[0.0], [NAN]]), torch.tensor([0, 1])
    result = measures.linear_separability(h, y, h, y)
    assert math.isnan(result.train_accuracy)
    assert math.isnan(result.test_accuracy)


def test_separability_refuses_what_does_not_fit():
    h, y = torch.ones(4, 3), torch.tensor([0, 1, 0, 1])
    with pytest.raises(ValueError, match="must have the same units, but have 3 and 2"):
        measures.linear_separability(h, y, h[:, :2], y)
    with pytest.raises(
        ValueError, match=r"y_test must have the shape \(4,\), a class a sample, but has \(3,\)"
    ):
        measures.linear_separability(h, y, h, y[:3])
    with pytest.raises(ValueError, match="y_train must hold at least two classes, but holds only 0"):
        measures.linear_separability(h, 0 * y, h, y)
    with pytest.raises(
        TypeError, match=r"y_train must be an integer tensor of classes, but is of torch.float32"
    ):
        measures.linear_separability(h, y.float(), h, y)
    with pytest.raises(TypeError, match=r"y_test must be an integer tensor of classes, but is of list"):
        measures.linear_separability(h, y, h, [0, 1, 0, 1])
    for C in (0, -1, INF, NAN):
        with pytest.raises(ValueError, match=f"C must be a finite number above 0, but is {C}"):
            measures.linear_separability(h, y, h, y, C=C)


# Gradients and Jacobians.


def test_gradient_norms_are_those_of_each_parameter():
    model = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 1))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 2.0]]))
        model[1].weight.copy_(torch.tensor([[3.0, 4.0]]))
    model(torch.tensor([[1.0, 1.0]])).sum().backward()
    # d/dW1 = (3, 4) outer (1, 1), d/dW2 = W1 x = (1, 2), d/db = 1
    expected = {"0.weight": math.sqrt(50), "1.weight": math.sqrt(5), "1.bias": 1.0}
    assert measures.gradient_norms(model) == pytest.approx(expected)
    assert list(measures.gradient_norms(model)) == list(expected)


def test_a_parameter_without_gradient_has_no_norm_and_a_zero_gradient_has_norm_zero():
    model = nn.Sequential(nn.Linear(1, 1), nn.ReLU(), nn.Linear(1, 1))
    model[2].weight.requires_grad_(False)
    with torch.no_grad():
        model[0].bias.fill_(-100.0)
    model(torch.ones(1, 1)).sum().backward()
    norms = measures.gradient_norms(model)
    assert norms["0.weight"] == 0
    assert math.isnan(norms["2.weight"])


def test_the_norm_of_a_vanished_float32_gradient_does_not_underflow():
    layer = nn.Linear(2, 1, bias=False)
    (1e-30 * layer(torch.tensor([[3.0, 4.0]]))).backward()
    assert measures.gradient_norms(layer)["weight"] == pytest.approx(5e-30, rel=1e-5)


def test_gradient_norms_need_a_backward_pass():
    with pytest.raises(
        ValueError, match=r"not one of the model's 2 parameters holds a gradient; call loss.backward"
    ):
        measures.gradient_norms(nn.Linear(2, 1))


def test_gradient_norms_need_a_module():
    with pytest.raises(TypeError, match=r"model must be a torch.nn.Module, but is a dict"):
        measures.gradient_norms({})


def test_jacobian_of_a_linear_map_has_the_singular_values_of_its_matrix():
    layer = nn.Linear(5, 3).double()
    values = measures.jacobian_singular_values(
        layer, torch.randn(4, 5, generator=generator(), dtype=torch.float64)
    )
    assert values.shape == (4, 3)
    torch.testing.assert_close(values, torch.linalg.svdvals(layer.weight.detach()).expand(4, 3))


def test_mean_singular_value_of_a_square_gaussian_layer_is_known():
    n, variance = 400, 0.7
    weight = variance**0.5 * torch.randn(n, n, generator=generator(), dtype=torch.float64)
    values = measures.jacobian_singular_values(lambda x: x @ weight.T, torch.zeros(1, n, dtype=torch.float64))
    assert values.mean() == pytest.approx(8 / (3 * math.pi) * math.sqrt(n * variance), rel=5e-3)


def test_jacobian_of_each_sample_is_its_own():
    x = torch.tensor([[0.0, 1.0], [2.0, -3.0]], dtype=torch.float64)
    slope = (1 - x.tanh().square()).sort(dim=1, descending=True).values
    torch.testing.assert_close(measures.jacobian_singular_values(torch.tanh, x), slope)


def test_jacobian_of_a_network_of_images_is_flattened():
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(8, 5))
    x = torch.randn(3, 1, 4, 4, generator=generator())
    values = measures.jacobian_singular_values(model, x)
    assert values.shape == (3, 5)
    rows = torch.autograd.functional.jacobian(lambda image: model(image[None])[0], x[1]).flatten(1)
    torch.testing.assert_close(values[1], torch.linalg.svdvals(rows.double()), rtol=1e-4, atol=1e-6)


def test_a_sample_whose_jacobian_is_not_finite_has_no_singular_values():
    values = measures.jacobian_singular_values(torch.sqrt, torch.tensor([[0.0, 1.0], [4.0, 1.0]]))
    assert values[0].isnan().all()
    torch.testing.assert_close(values[1], torch.tensor([0.5, 0.25], dtype=torch.float64))


def test_batch_normalisation_has_no_jacobian_of_a_sample_until_it_is_in_evaluation():
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    with pytest.raises(ValueError, match=r"module '1' normalises over the batch.*try model.eval\(\) first"):
        measures.jacobian_singular_values(model, torch.ones(3, 2))
    assert measures.jacobian_singular_values(model.eval(), torch.ones(3, 2)).shape == (3, 2)


def test_jacobian_refuses_what_are_no_samples():
    with pytest.raises(
        TypeError, match=r"x must be a floating-point tensor, but is of torch.int64; try x.float"
    ):
        measures.jacobian_singular_values(torch.tanh, torch.ones(2, 2, dtype=torch.int64))
    with pytest.raises(TypeError, match="x must be a floating-point tensor, but is of float"):
        measures.jacobian_singular_values(torch.tanh, 1.0)
    for shape in ((3,), (0, 3)):
        with pytest.raises(ValueError, match=r"x must have the shape \(samples, ...\).*try x.unsqueeze\(0\)"):
            measures.jacobian_singular_values(torch.tanh, torch.ones(shape))
