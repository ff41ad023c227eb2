"""A number in words that are the same on every CPU.

Trained results differ between machines in the digits that a page would print. So the book states its expected
number where a measurement agrees with it, and both numbers, with a cross, where it does not.
"""

from __future__ import annotations

import math
import numbers
from dataclasses import dataclass
from typing import Any

__all__ = ["Check", "Factor", "stated"]


@dataclass(frozen=True)
class Factor:
    """A tolerance for quantities that span decades: agreement within a factor, up or down.

    Parameters
    ----------
    times : float
        Above 1. A value agrees with `expected` if expected / times <= value <= expected * times.

    Raises
    ------
    ValueError
        If `times` is not a finite number above 1.

    Examples
    --------
    >>> stated(2e-12, 1e-12, within=Factor(3), format=".0e")
    '1e-12'
    """

    times: float

    def __post_init__(self) -> None:
        times = _number(self.times, "times")
        if not (math.isfinite(times) and times > 1):
            raise ValueError(f"a Factor must be finite and above 1, but was given {self.times!r}")
        object.__setattr__(self, "times", times)


@dataclass(frozen=True)
class Check:
    """One piece of evidence: what was measured, what the book expects, and how far apart they may be.

    Parameters
    ----------
    label : str
        What was measured, in words; one line.
    value : float
        The measurement: a Python, NumPy or PyTorch scalar. NaN and infinity are accepted and never agree.
    expected : float
        The book's number, typed in, not computed from `value`.
    within : float or Factor
        How far `value` may lie from `expected`: an absolute difference, at least 0, or a `Factor`. Typed in
        too. For a mean over seeds, at least three standard errors: then it holds on other machines.
    n : int or None
        How many seeds or samples `value` rests on; None for an analytic result.
    format : str, default ".2f"
        How the numbers are written: a format specification for a float, as in ``format(0.912, ".2f")``.

    Raises
    ------
    ValueError
        If the label is empty or has several lines, `expected` is not finite, `within` is negative or not finite,
        or a `Factor` around an expected number that is not positive, `n` is below 1, or `format` does not
        fit a float.
    TypeError
        If an argument is of another type.

    Notes
    -----
    `claims.settle` takes a sequence of these as the evidence for a verdict.

    Examples
    --------
    >>> Check("zeros at initialisation", 0.5031, 0.5, within=0.02, n=10, format=".0%").text
    'zeros at initialisation: 50% ± 2% (n = 10)'
    """

    label: str
    value: float
    expected: float
    within: float | Factor
    n: int | None
    format: str = ".2f"

    def __post_init__(self) -> None:
        if not isinstance(self.label, str):
            raise TypeError(f"label must be a string, but was given {self.label!r}")
        if not self.label.strip() or "\n" in self.label:
            raise ValueError(f"label must be one line of text, but was given {self.label!r}")
        object.__setattr__(self, "value", _number(self.value, "value"))
        object.__setattr__(self, "expected", _number(self.expected, "expected"))
        if not math.isfinite(self.expected):
            raise ValueError(f"expected must be finite, but was given {self.expected}")
        if not isinstance(self.within, Factor):
            object.__setattr__(self, "within", _number(self.within, "within"))
            if not (math.isfinite(self.within) and self.within >= 0):
                raise ValueError(f"within must be finite and at least 0, but was given {self.within}")
        elif self.expected <= 0:
            raise ValueError(
                f"within a Factor, expected must be positive, but was given {self.expected}; "
                "give within as an absolute difference"
            )
        if self.n is not None and (isinstance(self.n, bool) or not isinstance(self.n, numbers.Integral)):
            raise TypeError(
                f"n must be a whole number, or None for an analytic result, but was given {self.n!r}"
            )
        if self.n is not None:
            object.__setattr__(self, "n", int(self.n))
            if self.n < 1:
                raise ValueError(f"n must be at least 1, but was given {self.n}")
        if not isinstance(self.format, str):
            raise TypeError(f"format must be a string such as '.2f', but was given {self.format!r}")
        try:
            format(self.expected, self.format)
        except ValueError as error:
            raise ValueError(
                f"format {self.format!r} does not fit a number ({error}); try '.2f', '.0e', '.3g' or '.0%'"
            ) from error

    @property
    def agrees(self) -> bool:
        """Whether the measurement lies within the tolerance of the expected number."""
        if isinstance(self.within, Factor):
            return self.expected / self.within.times <= self.value <= self.expected * self.within.times
        return abs(self.value - self.expected) <= self.within

    @property
    def tolerance(self) -> str:
        """The tolerance in words: "± 0.05", "within a factor of 3"."""
        if isinstance(self.within, Factor):
            return f"within a factor of {self.within.times:g}"
        return f"± {100 * self.within:g}%" if self.format.endswith("%") else f"± {self.within:g}"

    @property
    def stated(self) -> str:
        """The expected number where the measurement agrees, else both, as `stated` gives them."""
        expected = format(self.expected, self.format)
        if self.agrees:
            return expected
        return f"{self._measured} ✗ (expected {self._expected_with_tolerance})"

    @property
    def text(self) -> str:
        """The check in one line: label, number, tolerance and n."""
        number = self._expected_with_tolerance if self.agrees else self.stated
        n = "" if self.n is None else f" (n = {self.n})"
        return f"{self.label}: {number}{n}"

    @property
    def _expected_with_tolerance(self) -> str:
        comma = "," if isinstance(self.within, Factor) else ""
        return f"{format(self.expected, self.format)}{comma} {self.tolerance}"

    @property
    def _measured(self) -> str:
        """The measurement, with more digits where the format would make it look like the expected number."""
        measured = format(self.value, self.format)
        return f"{self.value:.6g}" if measured == format(self.expected, self.format) else measured


def stated(value: Any, expected: float, within: float | Factor, format: str = ".2f") -> str:
    """State a measurement: the expected number where it agrees, else both, loudly.

    The text is the same on every machine as long as the measurement lies within the tolerance, so that it can
    stand in a sentence of the book; where it does not, the text changes, and comparing it with the stored
    one fails. It is no exception: a reader who changes an experiment sees both numbers.

    Parameters
    ----------
    value : float
        The measurement: a Python, NumPy or PyTorch scalar. NaN and infinity never agree.
    expected : float
        The book's number, typed in.
    within : float or Factor
        How far `value` may lie from `expected`: an absolute difference, at least 0, or a `Factor`. For a mean
        over seeds, at least three standard errors.
    format : str, default ".2f"
        How the numbers are written: a format specification for a float.

    Returns
    -------
    str
        "0.91", or "0.83 ✗ (expected 0.91 ± 0.05)".

    Raises
    ------
    ValueError, TypeError
        As `Check`.

    Examples
    --------
    >>> stated(0.894, 0.91, within=0.05)
    '0.91'
    >>> stated(0.83, 0.91, within=0.05)
    '0.83 ✗ (expected 0.91 ± 0.05)'
    >>> stated(8e-9, 1e-12, within=Factor(3), format=".0e")
    '8e-09 ✗ (expected 1e-12, within a factor of 3)'
    """
    return Check("stated", value, expected, within, None, format).stated


def _number(value: Any, name: str) -> float:
    """Turn a Python, NumPy or PyTorch scalar into a float."""
    try:
        number = value.item() if hasattr(value, "item") else value
    except (ValueError, RuntimeError):
        number = value
    if isinstance(number, bool) or not isinstance(number, numbers.Real):
        raise TypeError(f"{name} must be one number, but was given {value!r}")
    return float(number)
