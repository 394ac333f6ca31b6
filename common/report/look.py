"""What the layers of a trained network see: numbers for tables and files, and a picture of each.

A view looks at one thing. Those that need what an image has not, such as its true class, are
refused in one line.
"""

import itertools
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from common.arguments import checked
from common.backends.parts import need
from common.errors import NinError, in_python, plural
from common.network import architecture
from common.prediction.classifier import Classifier
from common.prediction.predict import Images, Predictions, class_names
from common.report import look_pictures as pictures
from common.report import style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Images at a time at 224x224 of which all layers' outputs are held; of smaller ones more.
BATCH = 16
MAPPED, WRONG, CHANNELS_SEEN_ON = 4, 10, 256
# Of a layer's outputs in the table of one pixel.
SHOWN_CHANNELS = 6


class View(NamedTuple):
    """What was found."""

    headers: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    """Of the table, in words."""
    summary: str
    """In a sentence."""
    report: dict[str, Any]
    """All numbers, for a JSON file."""
    plot: Callable[[str], "Figure"]
    """A picture, in a language."""


class Look:
    """Looks at a trained network with some images.

    Args:
        classifier: the network.
        images: to look with; those of a data set, with their classes, for ``confusion``,
            ``wrong`` and ``dead``.
    """

    def __init__(self, classifier: Classifier, images: Images) -> None:
        self.classifier = classifier
        self.model = classifier.model
        self.images = images
        self.class_names = list(class_names(self.model, images))

    def __repr__(self) -> str:
        """What looks at what."""
        return plural(f"<Look: {len(self.images.pixels)} image(s), {self.classifier!r}>")

    def about(self) -> dict[str, Any]:
        """What looks at what, for a JSON file."""
        settings, file = self.classifier.settings, self.classifier.file
        return {
            "weights": file.path and str(file.path),
            "backend": settings.backend,
            "device": self.classifier.ready.device.name,
            "resize": settings.resize,
            "images": len(self.images.pixels),
            "notice": self.images.notice,
            "notes": [in_python(note) for note in file.notes],
            "refused": [in_python(line) for line in self.images.refused],
        }

    @checked
    def view(self, view: str) -> View:
        """One of :data:`VIEWS`.

        Raises:
            NinError: if there is no such view, or it cannot be seen in this network or with these
                images.
        """
        if view not in VIEWS:
            raise NinError(f"`view={view}`: must be one of {', '.join(VIEWS)}")
        found: View = getattr(self, f"_{view}")()
        notice = self.images.notice
        return found._replace(plot=lambda lang: style.with_notice(found.plot(lang), notice, lang))

    @checked
    def plot(self, view: str, lang: str = "en") -> "Figure":
        """The picture of a view, in ``en`` or ``tr``."""
        return self.view(view).plot(lang)

    @cached_property
    def predictions(self) -> Predictions:
        """Of all images."""
        return self.classifier.predict(self.images)

    def _activations(self, count: int) -> Iterable[dict[str, np.ndarray]]:
        """What each layer gives for the first images, a batch at a time."""
        activations = need(self.classifier.predictor, "activations")
        size = max(1, min(count, BATCH * 224**2 // self.classifier.settings.resize**2))
        pixels = self.images.pixels[:count]
        for start in range(0, len(pixels), size):
            yield activations(pixels[start : start + size])

    # ------------------------------------------------------------------ the views

    def _mlp(self) -> View:
        """A fully connected network on each pixel, computed as such, beside the convolutions."""
        (outputs,) = self._activations(1)
        blocks: list[dict[str, Any]] = []
        rows, points = [], []
        for names, x, by_framework in self._pixel_networks(outputs):
            by_hand = self._per_pixel(names, x, by_framework)
            block = names[0].rpartition(".")[0]
            widths = [x.shape[1], *(self._weight(name).shape[0] for name in names)]
            largest = float(np.abs(by_framework).max())
            difference = float(np.abs(by_hand - by_framework).max())
            blocks.append(
                {
                    "block": block,
                    "layers": names,
                    "pixels": len(x),
                    "widths": widths,
                    "largest_output": largest,
                    "largest_difference": difference,
                }
            )
            numbers = (str(len(x)), f"{largest:.4g}", f"{difference:.1e}")
            rows.append((block, " → ".join(map(str, widths)), *numbers))
            points.append((block, by_framework, by_hand))
        if not blocks:
            raise NinError("`view=mlp`: this network has no 1x1 convolutions")
        _, by_framework, by_hand = points[0]
        pixel = int(by_framework.sum(1).argmax())
        channels = np.argsort(-by_framework[pixel], kind="stable")[:SHOWN_CHANNELS]
        few = [
            " ".join(f"{value:.4f}" for value in values[pixel, channels])
            for values in (by_hand, by_framework)
        ]
        worst = max(each["largest_difference"] for each in blocks)
        summary = (
            f"{blocks[0]['layers'][-1]}, {self.images.names[0]}, pixel {pixel}, its largest "
            f"channels:\n  fully connected  {few[0]}\n  1x1 convolutions {few[1]}\n"
            f"No output differs by more than {worst:.1e}, which is rounding."
        )
        headers = ("block", "widths", "pixels", "largest output", "largest difference")
        return View(
            headers, rows, summary, {"blocks": blocks}, lambda lang: pictures.mlp(points, lang)
        )

    def _maps(self) -> View:
        """The last block's maps, one for each class, of which the logits are the means."""
        maps = np.concatenate([*map(self._last_maps, self._activations(MAPPED))])
        size = self.classifier.settings.resize
        if maps.shape[2:] == (1, 1):
            more = architecture.smallest_input(self.model.network, last_map=2)
            raise NinError(
                f"`view=maps`: at {size}x{size} the last block's maps are of one pixel, in which "
                f"nothing can be seen; from {more} pixels on they are larger: look at the saved "
                f"weights at `resize={more}` or more, best those of a network that was trained so"
            )
        names, classes = self.images.names, self.class_names
        logits = maps.mean((2, 3))
        rows = [
            (name, *(f"{classes[k]} {row[k]:.2f}" for k in np.argsort(-row, kind="stable")[:2]))
            for name, row in zip(names, logits, strict=False)
        ]
        report = {
            "images": [
                {"image": name, "logits": row.tolist(), "maps": own.tolist()}
                for name, row, own in zip(names, logits, maps, strict=False)
            ]
        }
        pixels, place = self.images.pixels[:MAPPED], self._place(maps.shape[2])
        shown = plural(f"The first {len(maps)} of {len(names)} image(s). ")
        summary = shown * (len(maps) < len(names))
        summary += (
            f"Each class has a map of {maps.shape[2]}x{maps.shape[3]} pixels; the mean of a map is "
            "the class's logit. In the picture each map lies where its pixels' windows are centred."
        )
        return View(
            ("image", "largest mean", "next"), rows, summary, report,
            lambda lang: pictures.maps(pixels, maps, names, classes, place, lang),
        )  # fmt: skip

    def _confusion(self) -> View:
        """Which classes are taken for which."""
        self._labels("confusion")
        names, matrix = self.class_names, confusion_matrix(self.predictions)
        totals, right = matrix.sum(1), np.diag(matrix)
        shares = [float(r / t) if t else None for r, t in zip(right, totals, strict=True)]
        rows = []
        for name, total, share, others in zip(
            names, totals, shares, matrix - np.diag(right), strict=True
        ):
            mostly = f"{names[others.argmax()]} ({others.max()})" if others.any() else ""
            rows.append((name, str(total), "–" if share is None else f"{share:.3f}", mostly))
        accuracy = float(right.sum() / totals.sum())
        report = {
            "classes": names,
            "matrix": matrix.tolist(),
            "accuracy": accuracy,
            "accuracy_per_class": shares,
        }
        summary = plural(
            f"{right.sum()} of {totals.sum()} image(s) right: accuracy {accuracy:.3f}."
        )
        headers = ("class", "images", "accuracy", "most often taken for")
        return View(
            headers, rows, summary, report, lambda lang: pictures.confusion(matrix, names, lang)
        )

    def _wrong(self) -> View:
        """The wrong answers that the network is most confident of."""
        labels, found, names = self._labels("wrong"), self.predictions, self.class_names
        chosen = most_confident_wrong(found)
        report, rows = [], []
        for i in chosen:
            answer, true = found.labels[i], labels[i]
            report.append(
                {
                    "image": self.images.names[i],
                    "predicted": names[answer],
                    "probability": float(found.probabilities[i, answer]),
                    "true": names[true],
                    "probability_of_true": float(found.probabilities[i, true]),
                }
            )
            rows.append((self.images.names[i], found.likely(i, answer), found.likely(i, true)))
        wrong, count, shown = int(found.wrong.sum()), len(labels), self.images.pixels[chosen]
        return View(
            ("image", "predicted", "true"), rows,
            f"{wrong} of {count} answers are wrong" + "; the most confident" * bool(wrong) + ".",
            {"wrong": wrong, "images": report},
            lambda lang: pictures.wrong(shown, report, wrong, count, lang),
        )  # fmt: skip

    def _filters(self) -> View:
        """The first convolution's windows: the only ones that are in pixels."""
        name = next(name for name in self.model.weights if name.endswith(".weight"))
        weight = self._weight(name.removesuffix(".weight"))
        if weight.ndim != 4 or weight.shape[1] != 1:
            raise NinError("`view=filters`: the first layer is no convolution of grey images")
        filters = weight[:, 0]
        sizes = np.abs(filters).max((1, 2))
        strongest = np.argsort(-sizes, kind="stable")
        rows = [(str(i), f"{sizes[i]:.3f}", f"{filters[i].mean():+.4f}") for i in strongest[:10]]
        kernel = filters.shape[1]
        summary = (
            plural(f"{len(filters)} filter(s) of {kernel}x{kernel} pixels; ")
            + "those with the largest weights are listed."
        )
        report = {"layer": name, "filters": filters.tolist()}
        headers = ("filter", "largest weight", "mean")
        return View(headers, rows, summary, report, lambda lang: pictures.filters(filters, lang))

    def _dead(self) -> View:
        """Channels that are 0 in every pixel of every image."""
        self._labels("dead")  # a few photos leave many channels at 0 that are not dead
        most: dict[str, np.ndarray] = {}
        for outputs in self._activations(CHANNELS_SEEN_ON):
            for name, output in outputs.items():
                if f"{name}.weight" in self.model.weights:
                    largest = np.abs(_pixels(output)).max(0)
                    most[name] = np.maximum(most.get(name, 0), largest)
        seen = min(CHANNELS_SEEN_ON, len(self.images.pixels))
        layers, rows, total = [], [], 0
        for name, values in most.items():
            dead = np.flatnonzero(values == 0).tolist()
            few = " ".join(map(str, dead[:8])) + (" …" if len(dead) > 8 else "")
            layers.append({"layer": name, "channels": len(values), "dead": dead})
            rows.append((name, str(len(values)), str(len(dead)), few))
            total += len(dead)
        classes = ""
        if len(values) == self.model.num_classes and dead:  # of the last layer
            named = ", ".join(map(self.model.class_name, dead))
            classes = f" Classes whose logit is 0 in all of them: {named}."
        summary = plural(f"Of all channels, 0 in every pixel of {seen} image(s): {total}.{classes}")
        return View(
            ("layer", "channels", "dead", "which"), rows, summary,
            {"images": seen, "layers": layers}, lambda lang: pictures.dead(layers, seen, lang),
        )  # fmt: skip

    # ------------------------------------------------------------------ their parts

    def _labels(self, view: str) -> np.ndarray:
        if self.images.labels is None:
            raise NinError(f"`view={view}`: of images whose classes are known, not of photos")
        return self.images.labels

    def _weight(self, layer: str) -> np.ndarray:
        return self.model.weights[f"{layer}.weight"]

    def _pixel_networks(
        self, outputs: dict[str, np.ndarray]
    ) -> Iterable[tuple[list[str], np.ndarray, np.ndarray]]:
        """Each run of 1x1 convolutions, one right after the other.

        Yields:
            their names; what they get and what they give, (pixels, channels).
        """
        runs: list[list[str]] = []
        for before, name in itertools.pairwise(outputs):
            weight = self.model.weights.get(f"{name}.weight")
            if weight is None or weight.shape[2:] != (1, 1):
                continue
            if runs and runs[-1][-1] == before:
                runs[-1].append(name)
            else:
                runs.append([before, name])
        for first, *names in runs:
            yield names, _pixels(outputs[first]), _pixels(outputs[names[-1]])

    def _per_pixel(self, names: Sequence[str], x: np.ndarray, expected: np.ndarray) -> np.ndarray:
        """Fully connected layers with ReLU on vectors, one for each pixel, in float64."""
        for name in names:
            weight = self._weight(name)[:, :, 0, 0].astype(np.float64)
            x = x @ weight.T + self.model.weights.get(f"{name}.bias", 0)
            # a variant leaves out the very last ReLU
            if name != names[-1] or expected.min() >= 0:
                x = np.maximum(x, 0)
        return x

    def _last_maps(self, outputs: dict[str, np.ndarray]) -> np.ndarray:
        """(images, classes, height, width)."""
        names = list(outputs)
        found = outputs[names[names.index("global_pool") - 1]] if "global_pool" in names else None
        if found is None or found.ndim != 4 or found.shape[1] != self.model.num_classes:
            raise NinError(
                "`view=maps`: this network does not end in a map for each class and their means"
            )
        return found

    def _place(self, side: int) -> tuple[float, float]:
        """Where the maps lie in the image, as shares of its height: the first edge and the last.

        A pixel of a map is as wide as the strides before it come to, and its centre is that of the
        window of the image from which it is computed.
        """
        if self.model.layers:
            return 0.0, 1.0
        centre, step = 0.0, 1
        for layer in architecture.layers(network=self.model.network):
            centre += ((layer.kernel_size - 1) / 2 - layer.padding) * step
            step *= layer.stride
        first = centre + 0.5 - step / 2
        size = self.classifier.settings.resize
        return first / size, (first + side * step) / size


VIEWS = ("mlp", "maps", "confusion", "wrong", "filters", "dead")


def confusion_matrix(found: Predictions) -> np.ndarray:
    """How many images of each class, (true class, predicted class); both are known."""
    assert found.images.labels is not None
    matrix = np.zeros((found.model.num_classes,) * 2, np.int64)
    np.add.at(matrix, (found.images.labels, found.labels), 1)
    return matrix


def most_confident_wrong(found: Predictions) -> np.ndarray:
    """Which images have the wrong answers that the network is most confident of, at most ten."""
    wrong = np.flatnonzero(found.wrong)
    sure = found.probabilities[wrong, found.labels[wrong]]
    return wrong[np.argsort(-sure, kind="stable")][:WRONG]


def _pixels(output: np.ndarray) -> np.ndarray:
    """(batch, channels, height, width) -> (pixels, channels); (batch, features) as it is."""
    return np.moveaxis(output, 1, -1).reshape(-1, output.shape[1])
