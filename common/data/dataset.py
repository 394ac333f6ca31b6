from common.data.fashion_mnist import Dataset  # noqa: F401
