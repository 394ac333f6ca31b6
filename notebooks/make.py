"""Make the notebooks of this directory, one for each framework and language, and run them.

``python notebooks/make.py`` (after ``make test``, which installs what it needs) writes all six,
``python notebooks/make.py tf`` those of one framework. What they hold stands here, once.
"""

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import nbformat
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient

DIRECTORY = Path(__file__).parent
LANGUAGES = ("en", "tr")


class Framework(NamedTuple):
    """What is different in a notebook."""

    name: str
    layers: str
    """The import of the framework's own layers."""
    block: str
    """A block with any number of 1x1 convolutions."""
    network: str
    """The chapter's network, with the parts that the exercises change as arguments."""
    gentle: str
    """The last block of exercise 4."""
    dense: str
    """A fully connected layer in place of the global average pooling."""


FRAMEWORKS = {
    "torch": Framework(
        "PyTorch",
        "from torch import nn",
        """\
def my_block(in_channels, out_channels, kernel_size, strides, padding, ones=2, size=1):
    parts = [nn.Conv2d(in_channels, out_channels, kernel_size, strides, padding), nn.ReLU()]
    for _ in range(ones):
        parts += [nn.Conv2d(out_channels, out_channels, size, padding=size // 2), nn.ReLU()]
    return nn.Sequential(*parts)""",
        """\
def my_nin(block=nin_block, last=None, head=None):
    last = last or [block(384, 10, kernel_size=3, strides=1, padding=1)]
    head = head or [nn.AdaptiveAvgPool2d((1, 1)), nn.Flatten()]
    return nn.Sequential(
        block(1, 96, kernel_size=11, strides=4, padding=0),
        nn.MaxPool2d(kernel_size=3, stride=2),
        block(96, 256, kernel_size=5, strides=1, padding=2),
        nn.MaxPool2d(kernel_size=3, stride=2),
        block(256, 384, kernel_size=3, strides=1, padding=1),
        nn.MaxPool2d(kernel_size=3, stride=2),
        nn.Dropout(0.5),
        *last,
        *head,
    )""",
        """\
gentle = nn.Sequential(
    nn.Conv2d(384, 112, kernel_size=3, padding=1), nn.ReLU(),
    nn.Conv2d(112, 32, kernel_size=1), nn.ReLU(),
    nn.Conv2d(32, 10, kernel_size=1), nn.ReLU(),
)""",
        "[nn.Flatten(), nn.LazyLinear(10)]",
    ),
    "tf": Framework(
        "TensorFlow",
        "from tensorflow.keras import Sequential, layers",
        """\
def my_block(num_channels, kernel_size, strides, padding, ones=2, size=1):
    parts = [layers.Conv2D(num_channels, kernel_size, strides, padding, activation="relu")]
    padding = "valid" if size == 1 else "same"
    for _ in range(ones):
        parts.append(layers.Conv2D(num_channels, size, padding=padding, activation="relu"))
    return Sequential(parts)""",
        """\
def my_nin(block=nin_block, last=None, head=None):
    last = last or [block(10, kernel_size=3, strides=1, padding="same")]
    head = head or [
        layers.GlobalAveragePooling2D(), layers.Reshape((1, 1, 10)), layers.Flatten()
    ]
    return Sequential([
        block(96, kernel_size=11, strides=4, padding="valid"),
        layers.MaxPool2D(pool_size=3, strides=2),
        block(256, kernel_size=5, strides=1, padding="same"),
        layers.MaxPool2D(pool_size=3, strides=2),
        block(384, kernel_size=3, strides=1, padding="same"),
        layers.MaxPool2D(pool_size=3, strides=2),
        layers.Dropout(0.5),
        *last,
        *head,
    ])""",
        """\
gentle = Sequential([
    layers.Conv2D(112, kernel_size=3, padding="same", activation="relu"),
    layers.Conv2D(32, kernel_size=1, activation="relu"),
    layers.Conv2D(10, kernel_size=1, activation="relu"),
])""",
        # as PyTorch and MXNet have it, so that the weights are in the same order
        "[layers.Permute((3, 1, 2)), layers.Flatten(), layers.Dense(10)]",
    ),
    "mxnet": Framework(
        "MXNet",
        "from mxnet.gluon import nn",
        """\
def my_block(num_channels, kernel_size, strides, padding, ones=2, size=1):
    block = nn.Sequential()
    block.add(nn.Conv2D(num_channels, kernel_size, strides, padding, activation="relu"))
    for _ in range(ones):
        block.add(nn.Conv2D(num_channels, size, padding=size // 2, activation="relu"))
    return block""",
        """\
def my_nin(block=nin_block, last=None, head=None):
    last = last or [block(10, kernel_size=3, strides=1, padding=1)]
    head = head or [nn.GlobalAvgPool2D(), nn.Flatten()]
    net = nn.Sequential()
    net.add(
        block(96, kernel_size=11, strides=4, padding=0),
        nn.MaxPool2D(pool_size=3, strides=2),
        block(256, kernel_size=5, strides=1, padding=2),
        nn.MaxPool2D(pool_size=3, strides=2),
        block(384, kernel_size=3, strides=1, padding=1),
        nn.MaxPool2D(pool_size=3, strides=2),
        nn.Dropout(0.5),
        *last,
        *head,
    )
    return net""",
        """\
gentle = nn.Sequential()
gentle.add(
    nn.Conv2D(112, kernel_size=3, padding=1, activation="relu"),
    nn.Conv2D(32, kernel_size=1, activation="relu"),
    nn.Conv2D(10, kernel_size=1, activation="relu"),
)""",
        "[nn.Flatten(), nn.Dense(10)]",
    ),
}


class Cell(NamedTuple):
    """A cell of text in both languages, and the cell of code below it."""

    en: str
    tr: str
    code: str


def cells(backend: str, language: str) -> list[Cell]:
    """What a notebook holds, in order."""
    framework = FRAMEWORKS[backend]
    # English is what is drawn and printed if nothing is asked for
    asked = "" if language == "en" else f'lang="{language}"'
    more = asked and f", {asked}"
    return [
        Cell(
            f"""\
# Network in Network in {framework.name}

The chapter *Network in Network* of *Dive into Deep Learning*: build the network, train it, use
it, and do the exercises. Run the cells from top to bottom, then change them. The notebooks for
PyTorch, TensorFlow and MXNet differ only in the name of the framework and in its layers.
[docs/notebooks.md](../docs/notebooks.md) explains how to open them on Colab or Binder.""",
            f"""\
# {framework.name} ile Ağ İçinde Ağ (NiN)

*Derin Öğrenmeye Dalış* kitabının *Ağ İçinde Ağ* bölümü: ağı kurun, eğitin, kullanın ve
alıştırmaları yapın. Hücreleri önce baştan sona çalıştırın, sonra değiştirin. PyTorch, TensorFlow
ve MXNet not defterleri yalnızca çerçevenin adı ve katmanları bakımından farklıdır. Colab'da ya da
Binder'da nasıl açılacakları [docs/notebooks.md](../docs/notebooks.md) sayfasındadır
(İngilizce).""",
            f"from common import cost, fit, load, load_data, shape_walk\n"
            f"from nin_{backend} import get_weights, nin, nin_block",
        ),
        Cell(
            """\
## The block

A convolution of any window, then two 1×1 convolutions. A 1×1 convolution is a fully connected
layer that is applied to each pixel by itself: it mixes channels, never neighbours. Each of the
three is followed by a ReLU, so a block is a small multilayer perceptron for every pixel.""",
            """\
## NiN bloğu

Penceresi seçilebilen bir evrişim, ardından iki 1×1 evrişim. 1×1 evrişim, her piksele tek başına
uygulanan tam bağlı bir katmandır: kanalları karıştırır, komşu pikselleri asla
karıştırmaz. Üçünün de ardından ReLU gelir; böylece blok, her piksel için küçük, çok katmanlı bir
algılayıcı olur.""",
            "import inspect\n\nprint(inspect.getsource(nin_block))",
        ),
        Cell(
            """\
## The network

Three blocks with the windows and channels of AlexNet, max pooling after each, and a last block
with one channel per class. The mean of each channel over all pixels is the logit of its class:
there is no fully connected layer. `shape_walk` sends one random 224×224 image through the
network and prints the shape of each layer's output.""",
            """\
## Model

Pencereleri ve kanal sayıları AlexNet'teki gibi olan üç blok; her birinin ardından maksimum
ortaklama; en sonda da her sınıf için bir kanalı olan bir blok. Her kanalın bütün pikseller
üzerinden ortalaması, ait olduğu sınıfın logitidir; tam bağlı katman yoktur. `shape_walk`,
224×224'lük rastgele bir imgeyi ağdan geçirir ve her katmanın çıktı şeklini yazdırır.""",
            f"net = nin()\nshape_walk(net{more})",
        ),
        Cell(
            """\
## Training

12,000 images of Fashion-MNIST come with this project. `load_data("full")` gives all 70,000, and
downloads them if necessary.""",
            """\
## Eğitim

Fashion-MNIST'in 12.000 imgesi bu projeyle birlikte gelir. `load_data("full")` 70.000 imgenin
hepsini verir ve gerekirse indirir.""",
            'data = load_data("sample")\ndata.train_images.shape, data.test_images.shape',
        ),
        Cell(
            """\
The preset `fast` resizes the images to 68×68, so that this takes seconds on a CPU; `book` takes
every setting from the chapter. You can set anything else by keyword, as `epochs` and `limit`
(the number of training images) are here. The curves are drawn while the network trains. If you
interrupt the kernel, training stops after the current step, and `run.resume()` continues it.""",
            """\
`fast` ön ayarı imgeleri 68×68 boyutuna getirir, böylece eğitim CPU'da birkaç saniye sürer;
`book` ön ayarında bütün ayarlar bölümdeki gibidir. Diğer her ayarı adlı argüman olarak
verebilirsiniz; burada `epochs` (dönem sayısı) ve `limit` (eğitim imgelerinin sayısı) böyle
verilmiştir. Eğriler eğitim sürerken çizilir. Jupyter çekirdeğini durdurursanız (*Interrupt*)
eğitim, o andaki adım bitince durur; `run.resume()` kaldığı yerden sürdürür.""",
            f'run = fit(net, data, preset="fast", epochs=3, limit=2000{more})',
        ),
        Cell(
            """\
The history has one entry per epoch: a dictionary. `run.plot()` gives the curves again, as a
figure of matplotlib that you can change or save.""",
            """\
`run.history` her dönem için bir sözlük içerir. `run.plot()` eğrileri, değiştirebileceğiniz ya
da kaydedebileceğiniz bir matplotlib şekli olarak yeniden verir.""",
            """\
for row in run.history:
    print(f"{row['epoch']}: {row['train_loss']:.3f} {row['test_accuracy']:.3f}")""",
        ),
        Cell(
            """\
What does the network predict for images that it has not seen? Below each image are the likeliest
class and its probability, then the true class; wrong predictions are red.""",
            """\
Ağ, görmediği imgeler için ne tahmin ediyor? Her imgenin altında en olası sınıf ile olasılığı,
onun altında gerçek sınıf yazar; yanlış tahminler kırmızıdır.""",
            f"run.predict(data.test_images[:16], data.test_labels[:16]).plot({asked})",
        ),
        Cell(
            """\
Save the weights and load them again. The file belongs to no framework: the other two can load it
as well.""",
            """\
Ağırlıkları kaydedin ve yeniden yükleyin. Dosya hiçbir çerçeveye özgü değildir: öbür iki
çerçeve de onu yükleyebilir.""",
            f"""\
run.save("nin.safetensors")
loaded = load("nin.safetensors", "{backend}")
predictions = loaded.predict(data.test_images[:1000])
(predictions.labels == data.test_labels[:1000]).mean()""",
        ),
        Cell(
            """\
## Exercise 1: tune the hyperparameters

Choose on images that were held out of the training, never on the test set: `validation=1000`
holds out 1,000 training images, and the accuracy on them is `run.validation_accuracy`.
`limit=2000` makes both sets smaller: the network is trained on 2,000 images, and the accuracy is
measured on only 333 of the 1,000, a sixth as many. Try other learning rates, batch sizes
(`batch_size=`) and image sizes (`resize=`).""",
            """\
## Alıştırma 1: hiper parametreleri ayarlayın

Seçimi test kümesine göre değil, eğitimden ayrılan imgelere göre yapın: `validation=1000`
eğitim imgelerinden 1.000 tanesini ayırır, bunlardaki doğruluk `run.validation_accuracy` olur.
`limit=2000` her iki kümeyi de küçültür: ağ 2.000 imgeyle eğitilir, doğruluk ise ayrılan 1.000
imgenin yalnızca 333'ünde (eğitim imgelerinin altıda biri kadarında) ölçülür. Başka öğrenme
oranları, minigrup boyutları (`batch_size=`) ve imge boyutları (`resize=`) deneyin.""",
            """\
for lr in (0.01, 0.03, 0.1):
    tried = fit(nin(), data, "fast", epochs=3, limit=2000, validation=1000, lr=lr, watchers=[])
    print(lr, tried.validation_accuracy)""",
        ),
        Cell(
            """\
## Exercise 2: why two 1×1 convolutions?

`my_block` is `nin_block` with any number of them (`ones`), or with 3×3 windows in their place
(`size=3`). The network is built out of the framework's own layers; `fit` trains whatever you
build. It recognises the networks of these exercises and starts them alike, from weights that are
fitted to the training images. A network that it does not know starts with `init="he"`; compare it
with others that start so too.""",
            """\
## Alıştırma 2: neden iki 1×1 evrişim?

`my_block`, `nin_block`'un istediğiniz sayıda 1×1 evrişimli (`ones`) ya da onların yerine 3×3
pencereli (`size=3`) hâlidir. Ağ, çerçevenin kendi katmanlarından kurulur; `fit` kurduğunuz her
ağı eğitir. Bu alıştırmalardaki ağları tanır ve hepsini aynı biçimde, eğitim imgelerine göre
belirlenmiş ağırlıklarla başlatır. Tanımadığı bir ağ ise `init="he"` ile başlar; onu, aynı biçimde
başlayan ağlarla karşılaştırın.""",
            f"from functools import partial\n\n{framework.layers}\n\n\n"
            f"{framework.block}\n\n\n{framework.network}",
        ),
        Cell(
            """\
Three epochs on 2,000 images are far too few to decide which network is better, and one seed is
luck. Before you draw a conclusion train longer, on more images, with several values of `seed`;
`scripts/ablate.py` does that.""",
            """\
2.000 imgeyle üç dönem, hangi ağın daha iyi olduğuna karar vermek için çok azdır; tek bir tohum
değeriyle (`seed`) çıkan sonuç da şans işidir. Sonuç çıkarmadan önce daha uzun süre, daha çok
imgeyle ve birkaç `seed` değeriyle eğitin; `scripts/ablate.py` bunu yapar.""",
            """\
for ones in (0, 1, 2):
    own = my_nin(partial(my_block, ones=ones))
    tried = fit(own, data, "fast", epochs=3, limit=2000, watchers=[])
    print(ones, tried.history[-1]["train_loss"], tried.test_accuracy)""",
        ),
        Cell(
            """\
## Exercise 3: resources

The number of parameters can be read off the weights. `cost` also counts, layer by layer, the
multiply-adds for one image and the memory that training and prediction take: for a batch of 128
images of 224×224, or what you set, as in `cost(net, 68, batch_size=1)`. It takes the variants of
exercises 2 and 4 too, and `cost("alexnet")` is there to compare with; `scripts/cost.py` puts
LeNet, AlexNet and VGG side by side.""",
            """\
## Alıştırma 3: kaynak kullanımı

Parametre sayısı ağırlıklardan okunabilir. `cost` ayrıca her katman için tek bir imgenin
gerektirdiği çarpma-toplama sayısını (*multiply-adds*), eğitimde ve tahminde gereken belleği (*MiB
in training*, *in prediction*) hesaplar. Bunu 224×224 boyutunda 128 imgelik bir minigrup için
yapar; `cost(net, 68, batch_size=1)` gibi başka değerler de verebilirsiniz. 2. ve 4.
alıştırmalardaki ağları da kabul eder; karşılaştırma için `cost("alexnet")` de vardır.
`scripts/cost.py` LeNet, AlexNet ve VGG'nin değerlerini yan yana verir.""",
            """\
sizes = {name: array.size for name, array in get_weights(net).items()}
for block in ("block1", "block2", "block3", "block4"):
    print(block, sum(size for name, size in sizes.items() if name.startswith(block)))
print("all", sum(sizes.values()))
cost(net).show()""",
        ),
        Cell(
            """\
## Exercise 4: from 384 channels to 10 in one step

The last block shrinks 384 channels to 10 in its first convolution. Here it happens in three
steps. At 68×68 pixels the last map is a single pixel, so the images are 99×99 here: the smallest
size at which global average pooling has something to average. The chapter's network is trained
with the same settings, to compare with; each line is the training loss and the accuracy on 166
images. Again, two epochs on 1,000 images with one seed decide nothing; `scripts/ablate.py
--exercise 4` trains for longer, with six seeds.""",
            """\
## Alıştırma 4: tek adımda 384 kanaldan 10 kanala

Son blok, ilk evrişiminde 384 kanalı 10 kanala indirir. Burada bu iş üç adımda yapılıyor.
68×68 boyutunda son öznitelik haritası tek bir pikseldir; bu yüzden imgeler burada 99×99'dur:
küresel ortalama ortaklamaya birden çok pikselin kaldığı en küçük boyut. Karşılaştırma için
bölümdeki ağ da aynı ayarlarla eğitiliyor; her satırda eğitim kaybı ile 166 imgede ölçülen doğruluk
vardır. 1.000 imge, iki dönem ve tek bir tohum değeri burada da sonuç çıkarmaya yetmez;
`scripts/ablate.py --exercise 4` daha uzun süre ve altı tohum değeriyle eğitir.""",
            f"""\
{framework.gentle}


def train(own):
    tried = fit(own, data, "fast", epochs=2, limit=1000, resize=99, watchers=[])
    return tried.history[-1]["train_loss"], tried.test_accuracy


chapter = train(nin())
print("chapter", *chapter)
print("gentle", *train(my_nin(last=[gentle])))""",
        ),
        Cell(
            """\
## A fully connected layer in place of global average pooling

An exercise of the English editions. It has parameters of its own and takes images of one size
only. The first line is the chapter's network as it was trained above, with the same settings.
Here too one seed and few images decide nothing; `scripts/ablate.py --exercise head` trains for
longer, with six seeds.""",
            """\
## Küresel ortalama ortaklama yerine tam bağlı katman

İngilizce sürümlerdeki bir alıştırma. Bu katmanın kendi parametreleri vardır ve yalnızca tek bir
boyuttaki imgeleri kabul eder. İlk satır, bölümdeki ağın yukarıda aynı ayarlarla eğitilmiş
hâlidir. Tek bir tohum değeri ve az sayıda imge burada da sonuç çıkarmaya yetmez;
`scripts/ablate.py --exercise head` daha uzun süre ve altı tohum değeriyle eğitir.""",
            f"""\
dense = {framework.dense}
print("chapter", *chapter)
print("dense-head", *train(my_nin(head=dense)))""",
        ),
    ]


def notebook(backend: str, language: str = "en") -> Any:
    """A notebook without outputs."""
    made = nbformat.v4.new_notebook()
    made.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    for number, cell in enumerate(cells(backend, language), start=1):
        # the same source gives the same file
        for kind, content in (("markdown", getattr(cell, language)), ("code", cell.code)):
            made_cell = getattr(nbformat.v4, f"new_{kind}_cell")(content)
            made_cell.id = f"{kind}-{number}"
            made.cells.append(made_cell)
    return made


class Kernel(AsyncKernelManager):
    """A kernel of this very interpreter, whichever kernels are installed."""

    @property
    def kernel_spec(self) -> KernelSpec:
        """How to start it."""
        argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        return KernelSpec(argv=argv, display_name="Python 3", language="python")


def execute(made: Any, directory: Path) -> None:
    """Run a notebook; its outputs are put into it.

    Args:
        made: the notebook.
        directory: where it writes its files.

    Raises:
        nbclient.exceptions.CellExecutionError: if a cell fails.
    """
    NotebookClient(
        made,
        kernel_manager_class=Kernel,
        resources={"metadata": {"path": str(directory)}},
        record_timing=False,
        timeout=600,
    ).execute()
    # not this machine's Python
    made.metadata.language_info = {"name": "python"}


def path_of(backend: str, language: str = "en") -> Path:
    """Where a notebook is stored."""
    return DIRECTORY / f"nin_{backend}{'' if language == 'en' else '.' + language}.ipynb"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("backend", nargs="?", choices=FRAMEWORKS, help="of all, if none is named")
    one = parser.parse_args().backend
    for backend in [one] if one else FRAMEWORKS:
        for language in LANGUAGES:
            made = notebook(backend, language)
            with tempfile.TemporaryDirectory() as directory:
                execute(made, Path(directory))
            nbformat.write(made, path_of(backend, language))
            print(path_of(backend, language))
