"""Everything of the project that belongs to no framework.

Data, the shape of the network on paper, settings, the training loop, run directories, and the
contract that a backend fulfils (:mod:`common.backends.registry`). Nothing here imports a framework.
"""
