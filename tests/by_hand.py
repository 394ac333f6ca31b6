"""Networks as a reader builds them, out of nin_block and each framework's own layers."""

from types import SimpleNamespace


def maker(backend_name):
    """The layers of a framework under names that are the same for all three."""
    return {"torch": _torch, "tf": _tf, "mxnet": _mxnet}[backend_name]()


def _torch():
    import torch
    from torch import nn

    from nin_torch import nin_block

    class Scale(nn.Module):
        def __init__(self):
            super().__init__()
            self.factor = nn.Parameter(torch.ones(()))

        def forward(self, X):
            return X * self.factor

    class Doubled(nn.Sequential):
        def forward(self, X):
            return 2 * super().forward(X)

    class Hidden(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = [{"a": nn.Conv2d(8, 8, 1)}]

        def forward(self, X):
            return self.layers[0]["a"](X)

    class Wrapped(nn.Module):
        def __init__(self, net, factor):
            super().__init__()
            self.net, self.factor = net, factor

        def forward(self, X):
            return self.net(X) * self.factor

    def frozen(channels):
        return nn.Conv2d(channels, channels, 1).requires_grad_(False)

    return SimpleNamespace(
        sequence=nn.Sequential,
        block=nin_block,
        conv=lambda inputs, outputs, kernel: nn.Conv2d(inputs, outputs, kernel, padding="same"),
        lazy_conv=lambda outputs, kernel: nn.LazyConv2d(outputs, kernel, padding="same"),
        relu=nn.ReLU,
        leaky=lambda: [nn.Conv2d(1, 8, 1), nn.LeakyReLU()],
        pool=lambda: nn.MaxPool2d(3, 2),
        dropout=nn.Dropout,
        average=lambda: nn.AdaptiveAvgPool2d(1),
        flatten=nn.Flatten,
        dense=lambda outputs: nn.LazyLinear(outputs),
        softmax=lambda: nn.Softmax(1),
        # what a sequence of 8 channels may hold, but no network of ours
        refused={
            "BatchNorm2d": lambda: nn.BatchNorm2d(8),
            "LazyBatchNorm2d": lambda: nn.LazyBatchNorm2d(),
            "LayerNorm": lambda: nn.LayerNorm(7),
            "PReLU": nn.PReLU,
            "Embedding": lambda: nn.Embedding(7, 7),
            "Scale": Scale,
            "ConvTranspose2d": lambda: nn.ConvTranspose2d(8, 8, 1),
            "Doubled": lambda: Doubled(nn.Conv2d(8, 8, 1)),
            "Hidden": Hidden,
            "requires_grad=False": lambda: frozen(8),
            # its warning that it is old is not what is tested
            "weight_g": lambda: nn.utils.weight_norm(nn.Conv2d(8, 8, 1)),
            "ParametrizedConv2d": lambda: nn.utils.parametrizations.weight_norm(nn.Conv2d(8, 8, 1)),
        },
        wrapped=Wrapped,
        defaults=torch.get_default_dtype,
        # layers that draw, for images
        drawing=lambda: [nn.Dropout2d(0.2), nn.AlphaDropout(0.2)],
        halved=lambda net: net.bfloat16(),
        frozen=lambda *parts: nn.Sequential(*parts).requires_grad_(False),
        no_sequence=lambda: nn.ModuleDict({"a": nn.Conv2d(1, 8, 1), "b": nn.Flatten()}),
        listed=lambda net: {
            name: value.detach().numpy().copy()
            for name, value in net.named_parameters()
            if not nn.parameter.is_lazy(value)
        },
    )


def _tf():
    import keras
    from keras import layers

    from nin_tf import nin_block

    class Scale(layers.Layer):
        def build(self, shape):
            self.factor = self.add_weight(shape=(), initializer="ones")

        def call(self, X):
            return X * self.factor

    class Doubled(keras.Sequential):
        def call(self, X, **options):
            return 2 * super().call(X, **options)

    def conv(inputs, outputs, kernel, **options):
        return layers.Conv2D(outputs, kernel, padding="same", **options)

    def half_frozen():
        layer = conv(8, 8, 1)
        layer.build((None, 7, 7, 8))
        layer.kernel.trainable = False
        return layer

    def frozen(*parts):
        net = keras.Sequential()
        net.trainable = False
        for part in parts:
            net.add(part)
        return net

    return SimpleNamespace(
        sequence=lambda *parts: keras.Sequential(list(parts)),
        block=lambda inputs, outputs, kernel, strides, padding: nin_block(
            outputs, kernel, strides, "same" if padding else "valid"
        ),
        conv=conv,
        lazy_conv=lambda outputs, kernel: conv(None, outputs, kernel),
        relu=layers.ReLU,
        leaky=lambda: [conv(1, 8, 1, activation=layers.LeakyReLU())],
        pool=lambda: layers.MaxPool2D(3, 2),
        dropout=layers.Dropout,
        average=lambda: layers.GlobalAveragePooling2D(keepdims=True),
        flatten=layers.Flatten,
        dense=layers.Dense,
        softmax=layers.Softmax,
        refused={
            "BatchNormalization": layers.BatchNormalization,
            "LayerNormalization": layers.LayerNormalization,
            "PReLU": layers.PReLU,
            "Embedding": lambda: layers.Embedding(7, 1),
            "Scale": Scale,
            "Conv2DTranspose": lambda: layers.Conv2DTranspose(8, 1),
            "DepthwiseConv2D": lambda: layers.DepthwiseConv2D(3, padding="same"),
            "Doubled": lambda: Doubled([layers.Conv2D(8, 1)]),
            "trainable=False": lambda: layers.Conv2D(8, 1, trainable=False),
            "has trainable=False": half_frozen,
            "kernel_regularizer": lambda: conv(8, 8, 1, kernel_regularizer="l2"),
            "bias_regularizer": lambda: conv(8, 8, 1, bias_regularizer="l1"),
            "activity_regularizer": lambda: conv(8, 8, 1, activity_regularizer="l2"),
            "kernel_constraint": lambda: conv(8, 8, 1, kernel_constraint="non_neg"),
            "activityregularization1 has": lambda: layers.ActivityRegularization(0.1),
        },
        # a Keras network in a class is no sequence
        wrapped=None,
        defaults=lambda: (keras.config.floatx(), keras.config.dtype_policy().name),
        drawing=lambda: [
            layers.Pipeline([layers.RandomFlip(), layers.RandomRotation(0.1)]),
            layers.RandomBrightness(0.1, (0, 1)),
            layers.GaussianNoise(0.1),
        ],
        halved=None,
        frozen=frozen,
        no_sequence=lambda: keras.Model(
            image := keras.Input((67, 67, 1)), layers.Conv2D(8, 1)(image)
        ),
        listed=lambda net: {variable.path: variable.numpy() for variable in net.weights},
    )


def _mxnet():
    from mxnet import np, npx
    from mxnet.gluon import Block, HybridBlock, nn

    from nin_mxnet import nin_block

    class Scale(nn.HybridSequential):
        def __init__(self):
            super().__init__()
            self.factor = self.params.get("factor", shape=(1,), init="ones")

        def forward(self, X):
            return X * self.factor.data()

    class Doubled(nn.Sequential):
        def forward(self, X):
            return 2 * super().forward(X)

    class DoubledGraph(nn.HybridSequential):
        def hybrid_forward(self, F, X):
            return 2 * super().hybrid_forward(F, X)

    class Hidden(HybridBlock):
        def __init__(self):
            super().__init__()
            self.layers = (nn.Conv2D(8, 1),)

        def hybrid_forward(self, F, X):
            return self.layers[0](X)

    class Wrapped(Block):
        def __init__(self, net, factor):
            super().__init__()
            self.net, self.factor = net, factor

        def forward(self, X):
            return self.net(X) * self.factor

    class Two(Block):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Conv2D(8, 1), nn.Flatten()

    def sequence(*parts):
        net = nn.Sequential()
        net.add(*parts)
        return net

    def doubled(kind):
        net = kind()
        net.add(nn.Conv2D(8, 1))
        return net

    def asking(setting, value):
        layer = nn.Conv2D(8, 1)
        layer.collect_params().setattr(setting, value)
        return layer

    def frozen(*parts):
        net = sequence(*parts)
        net.collect_params().setattr("grad_req", "null")
        return net

    def listed(net):
        return {n: p.data().asnumpy() for n, p in net.collect_params().items() if p._data}

    return SimpleNamespace(
        sequence=sequence,
        block=lambda inputs, *others: nin_block(*others),
        conv=lambda inputs, outputs, kernel: nn.Conv2D(
            outputs, kernel, padding=kernel // 2, in_channels=inputs
        ),
        lazy_conv=lambda outputs, kernel: nn.Conv2D(outputs, kernel, padding=kernel // 2),
        relu=lambda: nn.Activation("relu"),
        leaky=lambda: [nn.Conv2D(8, 1), nn.LeakyReLU(0.1)],
        pool=lambda: nn.MaxPool2D(3, 2),
        dropout=nn.Dropout,
        average=nn.GlobalAvgPool2D,
        flatten=nn.Flatten,
        dense=nn.Dense,
        softmax=lambda: nn.HybridLambda(lambda F, X: F.npx.softmax(X)),
        refused={
            "BatchNorm": nn.BatchNorm,
            "LayerNorm": nn.LayerNorm,
            "PReLU": nn.PReLU,
            "Embedding": lambda: nn.Embedding(7, 1),
            "Scale": Scale,
            "Conv2DTranspose": lambda: nn.Conv2DTranspose(8, 1),
            "Doubled": lambda: doubled(Doubled),
            "DoubledGraph": lambda: doubled(DoubledGraph),
            "Hidden": Hidden,
            "is a Lambda": lambda: nn.Lambda(lambda X: X),
            "grad_req='null'": lambda: asking("grad_req", "null"),
            "lr_mult=0.1": lambda: asking("lr_mult", 0.1),
            "wd_mult=0.0": lambda: asking("wd_mult", 0.0),
        },
        wrapped=Wrapped,
        defaults=lambda: (np.ones(1).dtype, npx.is_np_array(), npx.is_np_shape()),
        drawing=lambda: [nn.Dropout(0.2), nn.Dropout(0.1, axes=(2, 3))],
        halved=None,
        frozen=frozen,
        no_sequence=Two,
        listed=listed,
    )
