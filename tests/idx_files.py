"""Write idx files, as the MNIST page describes them."""


def idx(array):
    header = bytes((0, 0, 8, array.ndim))
    return header + b"".join(n.to_bytes(4, "big") for n in array.shape) + array.tobytes()
