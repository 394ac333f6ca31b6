"""Muon on paper: momentum whose every direction is equally strong. The backends compute it.

Muon (Jordan et al. 2024, https://kellerjordan.github.io/posts/muon/) takes the weight of a
convolution as a matrix (out, inputs x height x width) with gradient ``g`` and remembers ``m``::

    m = MOMENTUM * m + g
    change = g + MOMENTUM * m
    weight -= rate * orthogonal(change)

``orthogonal`` divides a matrix ``X`` by its norm and then brings its singular values near 1 by
:data:`STEPS` Newton-Schulz steps ``X = (a I + b A + c A A) X`` with ``A = X X^T``. Each of these
factors is a polynomial in ``A``, and so is the next ``A``; so the steps are taken on ``A``, which
is small where ``X`` is wide, and ``X`` is multiplied once, by the product of the factors.

Biases are trained with Adam (Kingma and Ba 2015, algorithm 1).
"""

from collections.abc import Iterable

MOMENTUM = 0.9
COEFFICIENTS = 3.4445, -4.7750, 2.0315
STEPS = 3
# a matrix with a smaller norm than this is not brought to norm 1: there is nothing to learn from it
SMALLEST = 1e-15
# of the last block's weights, times the learning rate
LAST_RATE = 0.3
# of the biases, times the learning rate
BIAS_RATE = 0.1
BETAS, EPSILON = (0.9, 0.99), 1e-8


def weights(named: Iterable[str]) -> dict[str, float]:
    """Of all parameters, in order, those that are no biases, with factors of the learning rate."""
    names = list(named)
    last = names[-1].partition(".")[0] if names else ""
    return {
        name: LAST_RATE if name.partition(".")[0] == last else 1.0
        for name in names
        if name.endswith(".weight")
    }
