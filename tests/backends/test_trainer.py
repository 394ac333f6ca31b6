"""The training step of each backend, checked against arithmetic written out in NumPy."""

import dataclasses

import numpy as np
import pytest

from common.backends import session
from common.data import augmentation
from common.data.interpolation import resize_matrix
from common.errors import NinError
from common.network import initialization
from common.settings import Settings
from common.system import machine

SIZE = 67
BATCH = 8
SETTINGS = Settings(
    batch_size=BATCH, resize=SIZE, init="he", dropout=0.0, device="cpu", precision="float64"
)


@pytest.fixture(scope="module")
def small(sample):
    return sample.limit(200)


@pytest.fixture(scope="module")
def make(backend, small):
    """Makes a trainer with the given changes to SETTINGS, always from the same weights."""

    def make(**changes):
        settings = dataclasses.replace(SETTINGS, **changes)
        net = backend.nin(small.num_classes, 1, settings.dropout)
        backend.initialize(net, "he", 3)
        weights = backend.get_weights(net)
        rng = np.random.default_rng(3)
        for name, array in weights.items():
            if name.endswith("bias"):  # so that a bias that is lost shows
                weights[name] = rng.normal(0, 0.05, array.shape).astype(array.dtype)
        backend.set_weights(net, weights)
        return backend.Trainer(net, settings, small.train_images, small.train_labels)

    return make


def batch(step):
    return np.arange(BATCH, dtype=np.int64) + step * BATCH


def weights_of(backend, trainer):
    return backend.get_weights(trainer.net)


@pytest.fixture(scope="module")
def plain(backend, make):
    """A trainer of plain SGD, which remembers nothing: weights are set before each use."""
    return make(optimizer="sgd")


@pytest.fixture(scope="module")
def gradients(backend, plain):
    """Gradients at some weights, taken from one plain SGD step of learning rate 1."""

    def gradients(weights, indices):
        backend.set_weights(plain.net, weights)
        plain.train_batch(indices, 1.0, 0)
        plain.take_metrics()
        after = weights_of(backend, plain)
        return {name: weights[name] - after[name] for name in weights}

    return gradients


def test_all_backends_see_the_same_pixels(make, small):
    matrix = resize_matrix(28, SIZE)
    images = small.train_images[:5]
    expected = (matrix @ (images / 255) @ matrix.T)[:, None]
    for precision, tolerance in (("float32", 1e-6), ("float64", 1e-14)):
        seen = make(precision=precision).activations(images)["input"]
        np.testing.assert_allclose(seen, expected, rtol=0, atol=tolerance)


def test_the_metrics_are_the_mean_cross_entropy_and_the_correct_count(make, small):
    trainer = make()
    indices = batch(0)
    logits = trainer.logits(small.train_images[indices])
    labels = small.train_labels[indices]
    trainer.train_batch(indices, 0.01, 0)
    losses, correct = trainer.take_metrics()
    shifted = logits - logits.max(1, keepdims=True)
    log_softmax = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
    expected = -log_softmax[np.arange(BATCH), labels].mean()
    np.testing.assert_allclose(losses, [expected], rtol=1e-10)
    assert correct.tolist() == [(logits.argmax(1) == labels).sum()]


def test_metrics_come_one_per_step_and_are_taken_once(make):
    trainer = make(precision="float32")
    for step in range(3):
        trainer.train_batch(batch(step), 0.01, step)
    losses, correct = trainer.take_metrics()
    assert losses.shape == correct.shape == (3,)
    assert [array.size for array in trainer.take_metrics()] == [0, 0]


def test_the_gradient_is_the_slope_of_the_loss(backend, make, plain, gradients, rng):
    """Central differences along random directions of every parameter, in double precision."""
    weights = weights_of(backend, make())
    slopes = gradients(weights, batch(0))

    def loss_at(values):
        backend.set_weights(plain.net, values)
        plain.train_batch(batch(0), 1e-30, 0)
        return plain.take_metrics()[0][0]

    step = 1e-6
    for name in ("block1.conv1.weight", "block2.conv3.bias", "block4.conv3.weight"):
        direction = rng.standard_normal(weights[name].shape)
        direction /= np.linalg.norm(direction)
        up = {**weights, name: weights[name] + step * direction}
        down = {**weights, name: weights[name] - step * direction}
        measured = (loss_at(up) - loss_at(down)) / (2 * step)
        expected = (slopes[name] * direction).sum()
        np.testing.assert_allclose(measured, expected, rtol=1e-4, atol=1e-8, err_msg=name)


def test_gradients_are_those_of_a_training_step_without_dropout(
    backend, make, plain, gradients, small
):
    """Also where the network has dropout: it is off."""
    indices = batch(0)
    trainer = make(dropout=0.5)
    weights = weights_of(backend, trainer)
    loss, slopes = trainer.gradients(small.train_images[indices], small.train_labels[indices])
    backend.set_weights(plain.net, weights)
    plain.train_batch(indices, 1.0, 0)
    np.testing.assert_allclose(plain.take_metrics()[0], [loss], rtol=1e-12)
    assert list(slopes) == list(weights)
    for name, slope in gradients(weights, indices).items():
        np.testing.assert_allclose(slopes[name], slope, rtol=1e-7, atol=1e-12, err_msg=name)


@pytest.mark.parametrize("precision", [pytest.param("float32", marks=pytest.mark.long), "float64"])
def test_taking_gradients_changes_nothing(backend, make, small, precision):
    with_look, without = (make(precision=precision, optimizer="adamw") for _ in range(2))
    for step in range(2):
        with_look.gradients(small.train_images[:4], small.train_labels[:4])
        with_look.train_batch(batch(step), 1e-3, step)
        without.train_batch(batch(step), 1e-3, step)
    assert weights_equal(backend, with_look, without)
    assert with_look.take_metrics()[0].tolist() == without.take_metrics()[0].tolist()


def weights_equal(backend, one, other):
    arrays = weights_of(backend, other)
    return all((a == arrays[name]).all() for name, a in weights_of(backend, one).items())


def sgd(weights, slopes, memory, step, lr, momentum, decay):
    for name in weights:
        slope = slopes[name] + decay * weights[name]
        memory[name] = momentum * memory.get(name, 0) + slope
        weights[name] = weights[name] - lr * memory[name]


def adamw(weights, slopes, memory, step, lr, momentum, decay):
    for name in weights:
        mean, variance = memory.get(name, (0, 0))
        mean = 0.9 * mean + 0.1 * slopes[name]
        variance = 0.999 * variance + 0.001 * slopes[name] ** 2
        memory[name] = mean, variance
        mean, variance = mean / (1 - 0.9**step), variance / (1 - 0.999**step)
        decayed = weights[name] * (1 - lr * decay)
        weights[name] = decayed - lr * mean / (np.sqrt(variance) + 1e-8)


@pytest.mark.parametrize(
    ("rule", "optimizer", "momentum", "decay"),
    [
        pytest.param(sgd, "sgd", 0.0, 0.0, marks=pytest.mark.long),
        pytest.param(sgd, "sgd", 0.9, 0.0, marks=pytest.mark.long),
        (sgd, "sgd", 0.9, 0.1),
        pytest.param(adamw, "adamw", 0.0, 0.0, marks=pytest.mark.long),
        (adamw, "adamw", 0.0, 0.1),
    ],
)
def test_the_update_is_the_published_rule(
    backend, make, gradients, rule, optimizer, momentum, decay
):
    trainer = make(optimizer=optimizer, momentum=momentum, weight_decay=decay)
    weights, memory = weights_of(backend, trainer), {}
    # learning rates differ from step to step, as under a schedule
    for step, lr in enumerate((0.01, 0.003)):
        slopes = gradients(weights_of(backend, trainer), batch(step))
        rule(weights, slopes, memory, step + 1, lr, momentum, decay)
        trainer.train_batch(batch(step), lr, step)
    for name, array in weights_of(backend, trainer).items():
        # Adam divides by the gradient's size, so where that is tiny its rounding shows
        np.testing.assert_allclose(array, weights[name], rtol=1e-6, atol=1e-7, err_msg=name)


def orthogonal(change):
    """Newton-Schulz steps as they are written in the literature, on the matrix itself."""
    X = change.reshape(len(change), -1)
    X = X / np.linalg.norm(X)
    X = X if len(X) <= X.shape[1] else X.T
    for _ in range(3):
        A = X @ X.T
        X = 3.4445 * X + (-4.7750 * A + 2.0315 * A @ A) @ X
    return (X if X.shape[0] == len(change) else X.T).reshape(change.shape)


@pytest.mark.parametrize(
    ("precision", "tolerance"),
    [("float64", 1e-12), pytest.param("float32", 1e-5, marks=pytest.mark.long)],
)
def test_muon_is_the_published_rule(backend, make, small, precision, tolerance):
    trainer, decay = make(optimizer="muon", precision=precision, weight_decay=0.1), 0.1
    momenta, means, variances = ({} for _ in range(3))
    for step, lr in enumerate((0.01, 0.03), start=1):
        indices = batch(step)
        before = {name: array.astype(float) for name, array in weights_of(backend, trainer).items()}
        _, slopes = trainer.gradients(small.train_images[indices], small.train_labels[indices])
        trainer.train_batch(indices, lr, step)
        for name, array in weights_of(backend, trainer).items():
            slope = slopes[name].astype(float)
            if name.endswith("weight"):
                momenta[name] = 0.9 * momenta.get(name, 0) + slope
                change = orthogonal(slope + 0.9 * momenta[name])
                change *= 0.3 if name.startswith("block4.") else 1
                change += decay * before[name]
            else:
                means[name] = 0.9 * means.get(name, 0) + 0.1 * slope
                variances[name] = 0.99 * variances.get(name, 0) + 0.01 * slope**2
                root = np.sqrt(variances[name] / (1 - 0.99**step))
                change = 0.1 * means[name] / (1 - 0.9**step) / (root + 1e-8)
            np.testing.assert_allclose(
                array, before[name] - lr * change, rtol=0, atol=tolerance, err_msg=name
            )


def test_a_weight_without_a_gradient_stays_as_it_is(backend, make):
    trainer = make(optimizer="muon", precision="float32")
    weights = weights_of(backend, trainer)
    weights["block4.conv3.bias"] -= 1000  # dead: no gradient flows
    backend.set_weights(trainer.net, weights)
    trainer.train_batch(batch(0), 1.0, 0)
    for name, array in weights_of(backend, trainer).items():
        np.testing.assert_array_equal(array, weights[name], err_msg=name)


def test_a_smaller_last_batch_is_averaged_over_its_own_size(backend, make, gradients):
    trainer = make()
    trainer.train_batch(batch(0), 0.01, 0)
    before = weights_of(backend, trainer)
    slopes = gradients(before, batch(1)[:3])
    trainer.train_batch(batch(1)[:3], 0.01, 1)
    for name, array in weights_of(backend, trainer).items():
        expected = before[name] - 0.01 * slopes[name]
        np.testing.assert_allclose(array, expected, rtol=1e-7, atol=1e-10, err_msg=name)


# ------------------------------------------- label smoothing and augmentation


def test_label_smoothing_spreads_a_share_of_the_target_over_all_classes(backend, make, small):
    share = 0.3
    plain, smoothing = make(), make(label_smoothing=share)
    few = batch(0)[:2]
    images, labels = small.train_images[few], small.train_labels[few]
    classes = range(small.num_classes)
    _, own = plain.gradients(images, labels)
    others = [plain.gradients(images, np.full_like(labels, label))[1] for label in classes]
    before = weights_of(backend, smoothing)
    smoothing.train_batch(few, 1.0, 0)
    for name, array in weights_of(backend, smoothing).items():
        uniform = sum(slopes[name] for slopes in others) / small.num_classes
        slope = (1 - share) * own[name] + share * uniform
        np.testing.assert_allclose(before[name] - array, slope, rtol=1e-7, atol=1e-12)


def test_the_loss_that_is_told_is_the_plain_one_whatever_the_smoothing(make):
    losses = []
    for share in (0.0, 0.3):
        trainer = make(label_smoothing=share)
        trainer.train_batch(batch(0), 0.0, 0)
        losses.append(trainer.take_metrics()[0][0])
    assert losses[0] == pytest.approx(losses[1], rel=1e-12)


def test_training_sees_the_views_that_were_drawn(backend, make, small):
    step = 7
    trainer = make(shift=2, flip=True)
    drawn = augmentation.draw(trainer.views, trainer.seed, step, BATCH)
    images, labels = small.train_images[:BATCH], small.train_labels[:BATCH]
    seen = np.zeros_like(images)
    for i, (row, column) in enumerate(drawn):
        mirrored, move = divmod(column, 5)
        image = images[i, :, ::-1] if mirrored else images[i]
        # down by row - 2, to the right by move - 2; black comes in from outside
        seen[i] = np.pad(image, 2)[4 - row : 32 - row, 4 - move : 32 - move]
    loss, slopes = make().gradients(seen, labels)
    before = weights_of(backend, trainer)
    trainer.train_batch(batch(0), 1.0, step)
    assert trainer.take_metrics()[0][0] == pytest.approx(loss, rel=1e-9)
    for name, array in weights_of(backend, trainer).items():
        np.testing.assert_allclose(before[name] - array, slopes[name], rtol=1e-6, atol=1e-10)


def test_prediction_sees_the_images_themselves(make, small):
    images = small.train_images[:4]
    np.testing.assert_array_equal(make(shift=2, flip=True).logits(images), make().logits(images))


# ------------------------------------------------------------------ dropout


@pytest.fixture(scope="module")
def loss_with_dropout(make):
    """The loss of a batch with the mask of a seed and a step; the weights stay as they are."""
    trainers = {}

    def loss(seed, step):
        if seed not in trainers:
            trainers[seed] = make(dropout=0.5, seed=seed, precision="float32")
        trainers[seed].train_batch(batch(0), 0.0, step)
        return trainers[seed].take_metrics()[0][0]

    return loss


def test_dropout_is_decided_by_seed_and_step_alone(loss_with_dropout, make):
    first = loss_with_dropout(1, 5)
    loss_with_dropout(1, 6)
    assert loss_with_dropout(1, 5) == first
    another = make(dropout=0.5, seed=1, precision="float32")
    another.train_batch(batch(0), 0.0, 5)
    assert another.take_metrics()[0][0] == first


def test_dropout_differs_from_step_to_step(loss_with_dropout):
    assert len({loss_with_dropout(1, step) for step in range(4)}) == 4


def test_dropout_differs_from_seed_to_seed(loss_with_dropout):
    assert len({loss_with_dropout(seed, 5) for seed in range(4)}) == 4


def test_dropout_keeps_its_masks_apart_for_neighbouring_seeds_and_steps(loss_with_dropout):
    assert loss_with_dropout(1, 2) != loss_with_dropout(2, 1)


def test_dropout_is_off_in_prediction(make, small):
    with_dropout, without = make(dropout=0.5), make(dropout=0.0)
    images = small.test_images[:5]
    np.testing.assert_array_equal(with_dropout.logits(images), without.logits(images))


def test_prediction_does_not_depend_on_the_rest_of_the_batch(make, small):
    trainer = make()
    images = small.test_images[:6]
    together = trainer.logits(images)
    apart = np.concatenate([trainer.logits(images[:1]), trainer.logits(images[1:])])
    np.testing.assert_allclose(together, apart, rtol=1e-9, atol=1e-12)


# -------------------------------------------------------------- activations


def test_activations_name_every_convolution_and_layer_in_order(make, small):
    names = list(make().activations(small.train_images[:2]))
    blocks = {i: [f"block{i}.conv{j}" for j in (1, 2, 3)] for i in (1, 2, 3, 4)}
    expected = ["input", *blocks[1], "pool1", *blocks[2], "pool2", *blocks[3], "pool3", "dropout"]
    assert names == [*expected, *blocks[4], "global_pool", "flatten"]


def test_the_last_activation_is_the_logits(make, small):
    trainer = make()
    images = small.train_images[:4]
    np.testing.assert_allclose(
        trainer.activations(images)["flatten"], trainer.logits(images), rtol=1e-10
    )


def test_activations_of_convolutions_are_after_their_relu(make, small):
    outputs = make().activations(small.train_images[:2])
    assert all(outputs[name].min() == 0 for name in outputs if ".conv" in name)


# --------------------------------------------------------------------- state


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"optimizer": "sgd"}, marks=pytest.mark.long),
        pytest.param({"optimizer": "sgd", "momentum": 0.9}, marks=pytest.mark.long),
        pytest.param({"optimizer": "adamw", "weight_decay": 0.01}, marks=pytest.mark.long),
        {"optimizer": "muon", "weight_decay": 0.01},
    ],
)
def test_training_goes_on_from_a_saved_state_bit_for_bit(backend, make, changes):
    changes = {**changes, "dropout": 0.5, "precision": "float32"}
    steps, saved = 3, {}
    whole, other = make(**changes), make(**changes)
    for step in range(steps):
        saved[step] = whole.state()
        whole.train_batch(batch(step), 1e-3, step)
    for stopped_after in (2, 0):
        other.train_batch(batch(7), 0.1, 0)  # whatever it did before must not matter
        other.load_state(saved[stopped_after])
        for step in range(stopped_after, steps):
            other.train_batch(batch(step), 1e-3, step)
        for name, array in weights_of(backend, other).items():
            np.testing.assert_array_equal(array, weights_of(backend, whole)[name], err_msg=name)


def test_a_saved_state_is_a_copy(make):
    trainer = make(optimizer="adamw")
    trainer.train_batch(batch(0), 1e-3, 0)
    state = trainer.state()
    before = {name: array.copy() for name, array in state.items()}
    trainer.train_batch(batch(1), 1e-3, 1)
    assert all((state[name] == before[name]).all() for name in state)


def test_the_weights_of_two_trainers_are_apart(backend, make):
    one, other = make(), make()
    before = weights_of(backend, other)
    one.train_batch(batch(0), 0.1, 0)
    assert all((weights_of(backend, other)[name] == before[name]).all() for name in before)


# ----------------------------------------------------------------- precision


def test_every_precision_that_is_offered_learns(backend, make):
    # the update rules are tested in float64 above; MXNet is slow in it
    for precision in set(backend.PRECISIONS) - {"float64"}:
        trainer = make(precision=precision, optimizer="adamw")
        # so that no class is dead from the start
        alive = initialization.identity_last_block(backend.get_weights(trainer.net))
        backend.set_weights(trainer.net, alive)
        for step in range(25):
            trainer.train_batch(batch(0), 3e-4, step)
        losses, _ = trainer.take_metrics()
        assert losses[-5:].mean() < 0.8 * losses[0], precision


@pytest.mark.parametrize("has", [False, True])
def test_auto_is_bfloat16_where_the_processor_and_the_backend_have_it(
    backend, backend_name, prepared, monkeypatch, has
):
    monkeypatch.setattr(machine, "has_bfloat16", lambda: has)
    settings = Settings(backend=backend_name, device="cpu", precision="auto", threads=prepared)
    precision = session.start(settings).precision
    assert precision == ("bfloat16" if has and "bfloat16" in backend.PRECISIONS else "float32")


def test_what_the_diagnosis_looks_at_is_computed_as_in_training(backend, make, small):
    if "bfloat16" not in backend.PRECISIONS:
        pytest.skip("a backend without bfloat16")
    images, labels = small.train_images[:8], small.train_labels[:8]
    trainer, single = make(precision="bfloat16"), make(precision="float32")
    outputs, others = (each.activations(images)["block2.conv3"] for each in (trainer, single))
    # bfloat16 is the upper half of float32
    assert not (outputs.astype(np.float32).view(np.uint32) & 0xFFFF).any()
    assert (others.view(np.uint32) & 0xFFFF).any()
    gradients, others = (each.gradients(images, labels)[1] for each in (trainer, single))
    assert any((gradients[name] != others[name]).any() for name in gradients)


def test_float64_is_computed_in_float64(make, small):
    single = make(precision="float32").logits(small.train_images[:4])
    double = make(precision="float64").logits(small.train_images[:4])
    assert single.dtype == np.float32
    assert double.dtype == np.float64
    assert 0 < np.abs(single - double).max() < 1e-4


# ----------------------------------------------------------------- a GPU


@pytest.mark.parametrize("optimizer", ["sgd", "adamw", "muon"])
def test_a_gpu_trains_as_the_cpu_does_whatever_the_length_of_a_batch(
    backend, make, small, optimizer
):
    try:
        backend.find_device("gpu")
    except NinError as error:
        pytest.skip(str(error))
    momentum = 0.9 if optimizer == "sgd" else 0.0
    changes = {"optimizer": optimizer, "momentum": momentum, "precision": "float32", "shift": 1}
    on_cpu, on_gpu = make(**changes), make(**changes, device="gpu")
    # before the state is loaded, both lengths are done by what the backend has made of its step
    lengths = [BATCH, BATCH - 3] * 8
    losses = []
    for trainer in (on_cpu, on_gpu):
        for step, length in enumerate(lengths):
            trainer.train_batch(batch(step % 4)[:length], 1e-4 * (1 + step % 3), step)
            if step == 9:
                trainer.load_state(trainer.state())
        losses.append(trainer.take_metrics()[0])
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-3)
    np.testing.assert_allclose(
        on_gpu.logits(small.train_images[:4]), on_cpu.logits(small.train_images[:4]), rtol=1e-2
    )
