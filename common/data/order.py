from common.training.schedule import example_order  # noqa: F401
