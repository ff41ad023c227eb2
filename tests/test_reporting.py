import dataclasses
import doctest
import math

import numpy as np
import pytest
import torch

from helpers import reporting
from helpers.reporting import Check, Factor, stated


@pytest.mark.parametrize(
    "value", [0.894, 0.86, 0.96, 1, np.float32(0.9), np.array(0.9), torch.tensor(0.9), torch.tensor([0.9])]
)
def test_a_measurement_that_agrees_is_stated_as_the_expected_number(value):
    assert stated(value, 0.91, within=0.1) == "0.91"


def test_a_tensor_that_requires_a_gradient_is_a_number_too():
    assert stated(torch.tensor(0.9, requires_grad=True), 0.91, within=0.1) == "0.91"


def test_a_measurement_that_disagrees_is_stated_beside_the_expected_number():
    assert stated(0.83, 0.91, within=0.05) == "0.83 ✗ (expected 0.91 ± 0.05)"
    assert stated(0.97, 0.91, within=0.05) == "0.97 ✗ (expected 0.91 ± 0.05)"


def test_the_text_is_one_and_the_same_across_the_tolerance():
    assert {stated(value, 0.5, within=0.1) for value in np.linspace(0.401, 0.599, 50)} == {"0.50"}


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, torch.tensor(math.nan)])
@pytest.mark.parametrize("within", [1e300, Factor(1e300)])
def test_nan_and_infinity_never_agree(value, within):
    assert "✗ (expected" in stated(value, 1.0, within=within)


def test_no_tolerance_demands_equality():
    assert stated(0.25, 0.25, within=0) == "0.25"
    assert "✗" in stated(math.nextafter(0.25, 1), 0.25, within=0)


@pytest.mark.parametrize(
    ("value", "agrees"), [(1e-12, True), (2.9e-12, True), (3.4e-13, True), (3.1e-12, False)]
)
def test_a_factor_is_a_tolerance_up_and_down(value, agrees):
    assert Check("gradient", value, 1e-12, Factor(3), n=10).agrees is agrees
    assert Check("gradient", 1e-24 / value, 1e-12, Factor(3), n=10).agrees is agrees


@pytest.mark.parametrize("value", [0.0, -1e-12])
def test_zero_and_negative_values_lie_within_no_factor(value):
    assert stated(value, 1e-12, within=Factor(1e9), format=".0e").endswith(
        "✗ (expected 1e-12, within a factor of 1e+09)"
    )


def test_a_percentage_has_its_tolerance_in_percent():
    assert stated(0.2, 0.5, within=0.02, format=".0%") == "20% ✗ (expected 50% ± 2%)"


def test_rounding_never_hides_a_disagreement():
    assert stated(0.912, 0.91, within=0.001) == "0.912 ✗ (expected 0.91 ± 0.001)"


def test_a_check_says_label_number_tolerance_and_n():
    check = Check("zeros at initialisation", 0.503, 0.5, within=0.02, n=10)
    assert check.text == "zeros at initialisation: 0.50 ± 0.02 (n = 10)"
    assert check.stated == "0.50"
    assert check.agrees


def test_a_check_that_fails_says_so_in_its_text():
    check = Check("gradient at layer 1", 8e-9, 1e-12, Factor(3), n=10, format=".0e")
    assert check.text == "gradient at layer 1: 8e-09 ✗ (expected 1e-12, within a factor of 3) (n = 10)"
    assert not check.agrees


def test_an_analytic_check_has_no_n():
    assert Check("largest slope", 0.25, 0.25, within=1e-6, n=None).text == "largest slope: 0.25 ± 1e-06"


def test_a_check_is_frozen_and_holds_plain_numbers():
    check = Check("loss", torch.tensor(0.5), np.float64(0.5), within=np.float32(0.25), n=np.int64(10))
    assert [type(part) for part in (check.value, check.expected, check.within, check.n)] == [
        float,
        float,
        float,
        int,
    ]
    with pytest.raises(dataclasses.FrozenInstanceError):
        check.value = 1.0


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"label": 3}, TypeError, "label must be a string"),
        ({"label": " "}, ValueError, "label must be one line of text"),
        ({"label": "one\ntwo"}, ValueError, "label must be one line of text"),
        ({"value": "0.9"}, TypeError, "value must be one number, but was given '0.9'"),
        ({"value": None}, TypeError, "value must be one number"),
        ({"value": True}, TypeError, "value must be one number"),
        ({"value": np.array([0.9, 0.8])}, TypeError, "value must be one number"),
        ({"value": torch.tensor([0.9, 0.8])}, TypeError, "value must be one number"),
        ({"value": 1j}, TypeError, "value must be one number"),
        ({"expected": "0.9"}, TypeError, "expected must be one number"),
        ({"expected": math.nan}, ValueError, "expected must be finite, but was given nan"),
        ({"expected": math.inf}, ValueError, "expected must be finite"),
        ({"within": -0.1}, ValueError, "within must be finite and at least 0, but was given -0.1"),
        ({"within": math.inf}, ValueError, "within must be finite and at least 0"),
        ({"within": math.nan}, ValueError, "within must be finite and at least 0"),
        ({"within": None}, TypeError, "within must be one number"),
        ({"within": Factor(3), "expected": 0.0}, ValueError, "expected must be positive, but was given 0.0"),
        ({"n": 0}, ValueError, "n must be at least 1, but was given 0"),
        ({"n": 10.0}, TypeError, "n must be a whole number, or None"),
        ({"n": True}, TypeError, "n must be a whole number, or None"),
        ({"format": 2}, TypeError, r"format must be a string such as '\.2f'"),
        ({"format": "d"}, ValueError, r"format 'd' does not fit a number .*; try '\.2f'"),
        ({"format": "nonsense"}, ValueError, "format 'nonsense' does not fit a number"),
    ],
)
def test_a_check_meets_bad_input_at_the_door(arguments, error, message):
    good = {"label": "loss", "value": 0.9, "expected": 0.9, "within": 0.1, "n": 10, "format": ".2f"}
    with pytest.raises(error, match=message):
        Check(**{**good, **arguments})


def test_stated_meets_bad_input_with_the_same_errors():
    with pytest.raises(ValueError, match="within must be finite and at least 0"):
        stated(0.9, 0.9, within=-1)
    with pytest.raises(ValueError, match="format 'q' does not fit a number"):
        stated(0.9, 0.9, within=1, format="q")


@pytest.mark.parametrize("times", [1, 0.5, -3, math.inf, math.nan])
def test_a_factor_is_finite_and_above_one(times):
    with pytest.raises(ValueError, match="a Factor must be finite and above 1"):
        Factor(times)


def test_a_factor_is_a_number():
    with pytest.raises(TypeError, match="times must be one number"):
        Factor("3")


def test_the_examples_in_the_docstrings_run():
    results = doctest.testmod(reporting)
    assert results.attempted > 0
    assert results.failed == 0
