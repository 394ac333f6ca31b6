"""Every variant of the network is one network in all backends, held against plain NumPy."""

import dataclasses

import numpy as np
import numpy_nin
import pytest

from common.backends import parts
from common.comparison import shapes
from common.comparison.tables import shape_rows
from common.network import architecture
from common.network.description import CHAPTER, NETWORKS, parse
from common.settings import Settings

# those with a name, but for what takes long; and what no name has
VARIANTS = [name for name in NETWORKS if not name.startswith(("alexnet", "vgg-21", "vgg-30"))]
OTHERS = [
    "channels=8/6/4-12,kernels=5-3-3,strides=2-1-2,repeat=2,inner_kernel=3,last=9/7,pool=2,"
    "last_relu=no,dropout=every",
    "channels=6-8,kernels=3-3-3,strides=1-1-1,inner=0,head=alexnet,hidden=9/7,dropout=every",
]


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[] if name in ("3x3", "dense-head", *OTHERS) else pytest.mark.long)
        for name in [*VARIANTS, "vgg-21-32", *OTHERS]
    ],
)
def test_a_variant_gives_the_logits_and_gradients_of_plain_numpy(backend, sample, rng, name):
    network = parse(name)
    # two pixels more than one in the last map, so that there is something to pool or to flatten
    size = architecture.smallest_input(network)
    whole = dataclasses.replace(network, head="average", hidden=CHAPTER.hidden)
    while list(architecture.layer_shapes(size, network=whole).values())[-3][-1] == 1:
        size += 1
    shapes_on_paper = architecture.parameter_shapes(3, 1, network, size)
    weights = {
        key: rng.normal(0.02, 0.1 if len(shape) == 1 else (2 / np.prod(shape[1:])) ** 0.5, shape)
        for key, shape in shapes_on_paper.items()
    }
    found, expected = {}, {}
    for made, results in ((numpy_nin, expected), (backend, found)):
        net = parts.make_network(made, network, 3, 1, 0.5, size)
        predictor = made.Predictor(net, Settings(resize=size, precision="float64", device="cpu"))
        made.set_weights(predictor.net, weights)
        results.update(predictor.activations(sample.train_images[:2]))
        results["logits"] = predictor.logits(sample.train_images[:2])
        results["loss"], slopes = predictor.gradients(sample.train_images[:2], np.array([2, 0]))
        results.update({f"slope of {key}": slope for key, slope in slopes.items()})
    assert list(found) == list(expected)
    assert list(found)[: -2 - len(weights)] == architecture.layer_names(network)
    assert (expected["logits"] != 0).any()
    for key, array in expected.items():
        largest = np.abs(array).max()
        np.testing.assert_allclose(found[key], array, 0, 1e-11 * (largest or 1), err_msg=key)


def test_the_description_of_the_chapter_builds_the_chapter(backend, sample):
    built = parts.variants(backend).build(CHAPTER)
    assert backend.describe(built) == backend.describe(backend.nin())
    walks = []
    for net in (built, backend.nin()):
        backend.initialize(net, "xavier", 3)
        walks.append(list(shapes.walk_through(backend, net, 224)))
    # also the names that the book prints
    assert walks[0] == walks[1]
    chapter = backend.nin()
    backend.set_weights(chapter, backend.get_weights(built))
    settings = Settings(resize=99, device="cpu")
    images, labels = sample.train_images[:4], sample.train_labels[:4]
    one, other = (backend.Predictor(net, settings) for net in (built, chapter))
    np.testing.assert_array_equal(one.logits(images), other.logits(images))
    for slopes in zip(one.gradients(images, labels)[1].items(),
                      other.gradients(images, labels)[1].items(), strict=True):  # fmt: skip
        assert slopes[0][0] == slopes[1][0]
        np.testing.assert_array_equal(slopes[0][1], slopes[1][1])


@pytest.mark.parametrize("name", NETWORKS)
def test_a_variants_shape_walk_is_that_on_paper_each_layer_once(backend, name):
    network = NETWORKS[name]
    size = architecture.smallest_input(network)
    net = parts.make_network(backend, network, size=size)
    walk = list(shapes.walk_through(backend, net, size))
    found = {layer["name"]: tuple(layer["shape"]) for layer in walk if layer["name"]}
    on_paper = architecture.layer_shapes(size, network=network)
    assert found == on_paper
    rows = shape_rows({"framework": walk}, on_paper)
    assert [row.name for row in rows if row.deviating] == []
    weights = {key: array.shape for key, array in backend.get_weights(net).items()}
    assert weights == architecture.parameter_shapes(network=network, size=size)
