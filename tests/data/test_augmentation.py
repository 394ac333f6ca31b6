import dataclasses

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from common.data import augmentation
from common.data.interpolation import resize_matrix
from common.settings import Settings

SIZE = 28

settings = st.builds(
    lambda resize, shift, flip: dataclasses.replace(
        Settings(), resize=resize, shift=shift, flip=flip
    ),
    st.integers(67, 90),
    st.integers(0, 4),
    st.booleans(),
)
changing = settings.filter(lambda chosen: chosen.shift or chosen.flip)
seeds = st.integers(0, 2**31 - 1)


def moved(image, down, right):
    """Moved by whole pixels; black comes in from outside."""
    height, width = image.shape
    padded = np.pad(image, SIZE)
    return padded[SIZE - down : SIZE - down + height, SIZE - right : SIZE - right + width]


@given(changing, seeds)
def test_a_view_is_the_resized_image_after_moving_and_mirroring_it(chosen, seed):
    image = np.random.default_rng(seed).random((SIZE, SIZE))
    views = augmentation.views(SIZE, chosen)
    moves = range(-chosen.shift, chosen.shift + 1)
    columns = [
        (right, mirrored) for mirrored in (False, True)[: 1 + chosen.flip] for right in moves
    ]
    assert (len(views.rows), len(views.columns)) == (len(moves), len(columns))
    matrix = resize_matrix(SIZE, chosen.resize)
    for i, down in enumerate(moves):
        for j, (right, mirrored) in enumerate(columns):
            original = image[:, ::-1] if mirrored else image
            expected = matrix @ moved(original, down, right) @ matrix.T
            seen = views.rows[i] @ image @ views.columns[j].T
            np.testing.assert_allclose(seen, expected, rtol=0, atol=1e-12)


def test_without_shift_and_flip_there_are_no_views():
    assert augmentation.views(SIZE, Settings()) is None


@given(changing, seeds, st.integers(0, 10**6))
def test_a_draw_depends_on_seed_and_step_alone(chosen, seed, step):
    views = augmentation.views(SIZE, chosen)
    first = augmentation.draw(views, seed, step, 50)
    assert (augmentation.draw(views, seed, step, 50) == first).all()
    # fifty draws among two views or more are all but never equal
    assert (augmentation.draw(views, seed, step + 1, 50) != first).any()
    assert (augmentation.draw(views, seed + 1, step, 50) != first).any()


@given(changing, seeds)
def test_every_view_is_drawn_about_equally_often(chosen, seed):
    views = augmentation.views(SIZE, chosen)
    drawn = augmentation.draw(views, seed, 0, 20_000)
    for column, matrices in enumerate(views):
        counts = np.bincount(drawn[:, column], minlength=len(matrices))
        expected = 20_000 / len(matrices)
        assert (np.abs(counts - expected) < 6 * np.sqrt(expected)).all()


def test_the_draw_is_the_same_in_every_release_of_numpy_and_this_project():
    views = augmentation.views(SIZE, dataclasses.replace(Settings(), shift=1, flip=True))
    assert augmentation.draw(views, 0, 0, 4).tolist() == [[0, 3], [1, 2], [1, 4], [1, 5]]
