import copy

from common.comparison import shapes
from common.network import architecture


def walk_on_paper():
    return [
        {"book_name": "Layer", "book_shape": str(shape), "name": name, "shape": list(shape)}
        for name, shape in architecture.layer_shapes(67).items()
    ]


def test_backends_with_the_shapes_on_paper_agree():
    rows, first_difference = shapes.side_by_side({"a": walk_on_paper(), "b": walk_on_paper()}, 67)
    assert first_difference is None
    assert [row[0] for row in rows] == list(architecture.layer_shapes(67))
    assert all(row[1] == row[2] == row[3] for row in rows)


def test_the_first_layer_that_differs_is_named():
    other = copy.deepcopy(walk_on_paper())
    other[3]["shape"][1] += 1
    other[5]["shape"][1] += 1
    rows, first_difference = shapes.side_by_side({"a": walk_on_paper(), "b": other}, 67)
    assert first_difference == "pool2"
    assert rows[3][3].endswith("differs")


def test_a_layer_that_is_missing_or_too_many_is_a_difference():
    short = walk_on_paper()[:-1]
    assert shapes.side_by_side({"a": short}, 67)[1] == "flatten"
    longer = [*walk_on_paper(), {**walk_on_paper()[-1], "name": "softmax"}]
    assert shapes.side_by_side({"a": longer}, 67)[1] == "softmax"


def test_a_layer_that_only_one_framework_has_is_no_difference():
    more = [*walk_on_paper(), {**walk_on_paper()[-1], "name": None}]
    assert shapes.side_by_side({"a": more}, 67)[1] is None


def test_a_layer_that_comes_twice_is_a_difference():
    assert shapes.side_by_side({"a": [walk_on_paper()[0], *walk_on_paper()]}, 67)[1] == "block1"
