"""What counts as agreement of two backends.

A float32 number is off by up to 6e-8 of its size, and so is each sum or product. The longest sums
here have 3,456 products (block4), and the rounding of n of them in another order grows like the
root of n: about 4e-6 in the worst layer, less where sums are blocked, as all frameworks do. Twelve
convolutions in a row were measured at 1e-6 to 7e-6. So 1e-5 is the limit for outputs and
gradients, and any mistake of a port is far above it: even a bias dropped from one channel is 1e-3
or more. In float64 the same rounding is near 1e-15, and 1e-9 leaves a mistake nowhere to hide:
what agrees to 1e-5 in float32 and to 1e-9 in float64 differs by rounding only.

The losses of a training agree to 1e-6 at first, and less from step to step, because now and then
rounding decides whether a ReLU is on: 50 steps stay within 1e-4 from the weights of
:mod:`common.comparison.material`.

Each difference is relative to the largest value of its layer (its largest logit, for logits), and
for gradients it is ``norm(a - b) / norm(a)``: a single number near 0, where all of it is
cancellation, shows nothing of a layer.
"""

from typing import NamedTuple


class Tolerances(NamedTuple):
    """The largest relative differences that still are agreement."""

    outputs: float
    """Of a layer, relative to its largest value."""
    gradients: float
    """Of a parameter's gradient, in relative L2 norm; of the loss."""
    losses: float
    """Of the loss at any step of the training."""
    updates: float
    """Of what the training changed in a parameter, in relative L2 norm. In float32 the changes are
    as small as a few units in a weight's last place, so that a hundredth of them is rounding."""

    def of(self, level: str) -> str:
        """What a level is judged by, in words."""
        return {
            "shapes": "equal to the shapes on paper",
            "parameters": "equal to the shapes on paper, and what is set comes back",
            "activations": f"{self.outputs:.0e} of the layer's largest value",
            "gradients": f"{self.gradients:.0e} in relative L2 norm; the loss {self.gradients:.0e}",
            "training": f"losses {self.losses:.0e}; what was learned {self.updates:.0e} in L2 norm",
        }[level]


TOLERANCES = {
    "float32": Tolerances(outputs=1e-5, gradients=1e-5, losses=1e-4, updates=1e-1),
    "float64": Tolerances(outputs=1e-9, gradients=1e-9, losses=1e-9, updates=1e-7),
}

# The training counts as learning when the last pass's mean loss is below this part of the first's.
# The batches are the same ones again, so that nothing but learning lowers it.
LEARNED = 0.999
# A loss this close to ln(classes), in nats, is that of a dead network: the same for every image.
DEAD_LOSS = 1e-4
