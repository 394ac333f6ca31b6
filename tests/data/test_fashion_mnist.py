import contextlib
import gzip
import hashlib
import http.server
import socket
import threading

import numpy as np
import pytest
from idx_files import idx

from common.data import fashion_mnist, fetch
from common.errors import NinError


@pytest.fixture
def directory(tmp_path, rng):
    """A small, valid data set in the MNIST layout: 30 training, 20 test images of 3 classes."""
    for name, count in (("train", 30), ("t10k", 20)):
        images = rng.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        labels = (np.arange(count) % 3).astype(np.uint8)
        (tmp_path / f"{name}-images-idx3-ubyte").write_bytes(idx(images))
        (tmp_path / f"{name}-labels-idx1-ubyte").write_bytes(idx(labels))
    return tmp_path


@pytest.fixture
def nothing_around(tmp_path_factory, monkeypatch):
    """No cache, no system copy, no mirror that answers."""
    empty = tmp_path_factory.mktemp("empty")
    monkeypatch.setenv("XDG_CACHE_HOME", str(empty))
    monkeypatch.setattr(fashion_mnist, "SYSTEM_DIRECTORY", empty / "system")
    monkeypatch.setenv(fashion_mnist.MIRRORS_VARIABLE, "http://127.0.0.1:9/")
    monkeypatch.setenv("KERAS_HOME", str(empty / "keras"))
    monkeypatch.setenv("MXNET_HOME", str(empty / "mxnet"))
    monkeypatch.setattr("tempfile.tempdir", str(empty / "temporary"))
    (empty / "temporary").mkdir()
    monkeypatch.chdir(empty)
    monkeypatch.delenv(fashion_mnist.DIRECTORY_VARIABLE, raising=False)
    return empty


@pytest.mark.parametrize(
    "place",
    ["keras/datasets/fashion-mnist", "mxnet/datasets/fashion-mnist", "data/FashionMNIST/raw"],
)
def test_what_other_programs_downloaded_is_found(nothing_around, mirror, place):
    (nothing_around / place).parent.mkdir(parents=True)
    mirror.rename(nothing_around / place)
    assert fashion_mnist.load("full").directory == str(nothing_around / place)


def test_a_home_directory_is_expanded(directory, monkeypatch):
    monkeypatch.setenv("HOME", str(directory.parent))
    assert fashion_mnist.load(f"~/{directory.name}").directory == str(directory)
    monkeypatch.setenv(fashion_mnist.DIRECTORY_VARIABLE, f"~/{directory.name}")
    assert fashion_mnist.load("auto").directory == str(directory)


def test_the_sample_is_balanced_and_large_enough(sample):
    assert np.bincount(sample.train_labels).tolist() == [1000] * 10
    assert np.bincount(sample.test_labels).tolist() == [200] * 10
    assert sample.train_images.shape == (10_000, 28, 28)


def test_the_sample_is_the_one_that_was_embedded(sample):
    assert sample.checksums == {
        "train-images-idx3-ubyte": (
            "d33512cfdc636a0d8972818e6659995be209a88891df7fa2109d7895922c8985"
        ),
        "train-labels-idx1-ubyte": (
            "620cb8e3b9348037c5ff9a07b02d773ab165330e072dfd19e0d21c59f8042dcf"
        ),
        "t10k-images-idx3-ubyte": (
            "15a92dd1e9b16ea361928086e77df4dfa890c255c00b5a8c8162c1040ce8eef1"
        ),
        "t10k-labels-idx1-ubyte": (
            "234596aeb6eb48133ec99a62541f90bc0728c9559a681f1e0638037462458f2c"
        ),
    }


def test_the_sample_says_what_it_is(sample):
    assert "embedded sample" in sample.notice


@pytest.mark.parametrize("zipped", [True, False])
def test_any_directory_in_the_mnist_layout_works_gzipped_or_not(directory, zipped):
    if zipped:
        for path in list(directory.iterdir()):
            path.with_name(path.name + ".gz").write_bytes(gzip.compress(path.read_bytes()))
            path.unlink()
    dataset = fashion_mnist.load(str(directory))
    assert (len(dataset.train_images), len(dataset.test_images)) == (30, 20)
    assert dataset.num_classes == 3
    assert "not the published Fashion-MNIST files" in dataset.notice


def test_the_environment_variable_names_the_directory(directory, monkeypatch):
    monkeypatch.setenv(fashion_mnist.DIRECTORY_VARIABLE, str(directory))
    assert fashion_mnist.load("auto").directory == str(directory)


def damage_missing(path):
    path.unlink()


def damage_truncated(path):
    path.write_bytes(path.read_bytes()[:-1])


def damage_too_long(path):
    path.write_bytes(path.read_bytes() + b"x")


def damage_not_idx(path):
    path.write_bytes(b"<html>not found</html>")


def damage_empty(path):
    path.write_bytes(b"")


def damage_gzip(path):
    whole = gzip.compress(path.read_bytes())
    path.unlink()
    path.with_name(path.name + ".gz").write_bytes(whole[: len(whole) // 2])


def damage_gzip_bits(path):
    whole = bytearray(gzip.compress(path.read_bytes()))
    whole[len(whole) // 2] ^= 0xFF
    path.unlink()
    path.with_name(path.name + ".gz").write_bytes(whole)


@pytest.mark.parametrize("name", list(fashion_mnist.CHECKSUMS))
@pytest.mark.parametrize(
    "damage",
    [
        damage_missing,
        damage_truncated,
        damage_too_long,
        damage_not_idx,
        damage_empty,
        damage_gzip,
        damage_gzip_bits,
    ],
)
def test_a_damaged_file_is_refused_by_name_in_one_line(directory, name, damage):
    damage(directory / name)
    with pytest.raises(NinError, match=name) as caught:
        fashion_mnist.load(str(directory))
    assert "\n" not in str(caught.value)


def test_labels_that_do_not_match_the_images_are_refused(directory):
    (directory / "train-labels-idx1-ubyte").write_bytes(idx(np.zeros(29, np.uint8)))
    with pytest.raises(NinError, match="29 labels for the 30 images"):
        fashion_mnist.load(str(directory))


def test_a_test_label_that_training_never_saw_is_refused(directory):
    (directory / "t10k-labels-idx1-ubyte").write_bytes(idx(np.full(20, 7, np.uint8)))
    with pytest.raises(NinError, match=r"label 7 is not among those of .*, 0 to 2"):
        fashion_mnist.load(str(directory))


def test_images_that_are_not_square_are_refused(directory):
    (directory / "train-images-idx3-ubyte").write_bytes(idx(np.zeros((30, 28, 20), np.uint8)))
    with pytest.raises(NinError, match="20 pixels wide and 28 high, expected square"):
        fashion_mnist.load(str(directory))


def test_test_images_of_another_size_are_refused(directory):
    (directory / "t10k-images-idx3-ubyte").write_bytes(idx(np.zeros((20, 14, 14), np.uint8)))
    with pytest.raises(NinError, match="14x14, expected 28x28"):
        fashion_mnist.load(str(directory))


def test_auto_falls_back_to_the_sample_with_a_notice(nothing_around):
    dataset = fashion_mnist.load("auto")
    assert dataset.kind == "sample"
    assert "embedded sample" in dataset.notice
    assert "not available" in dataset.notice


def test_full_never_falls_back(nothing_around):
    with pytest.raises(NinError, match="data=full: not available"):
        fashion_mnist.load("full")


def test_full_refuses_a_directory_of_other_data(directory, monkeypatch):
    monkeypatch.setenv(fashion_mnist.DIRECTORY_VARIABLE, str(directory))
    with pytest.raises(NinError, match="does not hold all of Fashion-MNIST"):
        fashion_mnist.load("full")


def test_a_damaged_system_copy_is_reported_and_not_used(
    nothing_around, directory, monkeypatch, capsys
):
    monkeypatch.setattr(fashion_mnist, "SYSTEM_DIRECTORY", directory)
    dataset = fashion_mnist.load("auto")
    assert dataset.kind == "sample"
    line, _ = capsys.readouterr().err.splitlines()
    assert line.startswith("note: damaged data passed over: ")
    assert "expected c59f468a" in line


@pytest.fixture
def mirror(tmp_path, monkeypatch, sample):
    """A web server on this machine with the sample's files as if they were the published ones."""
    served = tmp_path / "served"
    served.mkdir()
    md5 = {}
    for name in fashion_mnist.GZIPPED:
        zipped = (fashion_mnist.SAMPLE_DIRECTORY / name).read_bytes()
        (served / name).write_bytes(zipped)
        md5[name] = hashlib.md5(zipped).hexdigest()
    monkeypatch.setattr(fashion_mnist, "GZIPPED", md5)
    monkeypatch.setattr(fashion_mnist, "CHECKSUMS", sample.checksums)

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments):
            super().__init__(*arguments, directory=served)

        def log_message(self, *arguments):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    monkeypatch.setenv(fashion_mnist.MIRRORS_VARIABLE, f"http://127.0.0.1:{server.server_port}/")
    yield served
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_download_ends_in_the_cache(nothing_around, mirror):
    dataset = fashion_mnist.load("full")
    cache = fashion_mnist.cache_directories()[0]
    assert dataset.directory == str(cache)
    assert len(list(cache.iterdir())) == 4


def test_a_read_only_home_leaves_another_cache(nothing_around, mirror, monkeypatch, tmp_path):
    (nothing_around / "nin").write_text("no directory can be made here, not even by root")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    dataset = fashion_mnist.load("full")
    assert dataset.directory == str(fashion_mnist.cache_directories()[1])
    assert dataset.directory.startswith(str(tmp_path))
    monkeypatch.setenv(fashion_mnist.MIRRORS_VARIABLE, "http://127.0.0.1:9/")
    assert fashion_mnist.load("full").directory == dataset.directory


def test_without_a_home_only_the_other_cache_is_used(monkeypatch):
    monkeypatch.setattr("os.path.expanduser", lambda path: path)
    for name in ("HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    (directory,) = fashion_mnist.cache_directories()
    assert directory.is_absolute()


@pytest.mark.parametrize("form", ["file://{}", "file:{}", "{}", "{}/"])
def test_a_mirror_may_be_a_directory(nothing_around, mirror, monkeypatch, form):
    monkeypatch.setenv(fashion_mnist.MIRRORS_VARIABLE, form.format(mirror))
    assert fashion_mnist.load("full").kind == "full"


def test_a_mirror_that_trickles_is_given_up(nothing_around, mirror, monkeypatch):
    monkeypatch.setattr(fetch, "PATIENCE_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as server:

        def trickle():
            connection, _ = server.accept()
            with connection, contextlib.suppress(OSError):
                connection.recv(10_000)
                connection.sendall(b"HTTP/1.0 200 OK\r\nContent-Length: 1000000\r\n\r\n")
                while True:
                    connection.sendall(b"x")
                    stopped.wait(0.05)

        stopped = threading.Event()
        thread = threading.Thread(target=trickle)
        thread.start()
        trickling = f"http://127.0.0.1:{server.getsockname()[1]}/"
        with pytest.raises(OSError, match=r"too slow, 0\.\d kB/s"):
            fetch.fetch(f"{trickling}file", mirror / "never")
        stopped.set()
        thread.join()


def test_a_second_run_reads_the_cache_without_a_download(nothing_around, mirror, monkeypatch):
    fashion_mnist.load("full")
    monkeypatch.setenv(fashion_mnist.MIRRORS_VARIABLE, "http://127.0.0.1:9/")
    assert fashion_mnist.load("full").kind == "full"


def test_the_next_mirror_is_asked_when_one_does_not_answer(nothing_around, mirror, monkeypatch):
    import os

    working = os.environ[fashion_mnist.MIRRORS_VARIABLE]
    monkeypatch.setenv(fashion_mnist.MIRRORS_VARIABLE, f"http://127.0.0.1:9/ {working}")
    assert fashion_mnist.load("full").kind == "full"


def test_a_broken_download_never_ends_up_in_the_cache(nothing_around, mirror):
    path = mirror / "train-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(NinError, match=r"train-images-idx3-ubyte\.gz failed"):
        fashion_mnist.load("full")
    cached = fashion_mnist.cache_directories()[0]
    assert not (cached / path.name).exists()


PAGE = b"<html>Service unavailable</html>"
ANSWERS = {
    "hangs": None,
    "redirects for ever": b"HTTP/1.0 302 Found\r\nLocation: /again\r\n\r\n",
    "redirects to a file": b"HTTP/1.0 302 Found\r\nLocation: file:///etc/passwd\r\n\r\n",
    "an error": b"HTTP/1.0 503 Service Unavailable\r\n\r\n" + PAGE,
    "an error page that claims to be the file": b"HTTP/1.0 200 OK\r\n\r\n" + PAGE,
    "half": b"HTTP/1.0 200 OK\r\nContent-Length: 1000\r\n\r\nhalf",
    "half of a chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\nhalf",
    "no answer in HTTP": b"220 mail.example.org ESMTP\r\n",
    "an absurd length": b"HTTP/1.0 200 OK\r\nContent-Length: many\r\n\r\nx",
    "nothing": b"",
}


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
def test_a_mirror_that_answers_badly_is_passed_over(nothing_around, mirror, monkeypatch, answer):
    import os

    monkeypatch.setattr(fetch, "PATIENCE_SECONDS", 0.3)
    working = os.environ[fashion_mnist.MIRRORS_VARIABLE]

    def serve():
        while True:
            connection, _ = server.accept()
            with connection, contextlib.suppress(OSError):
                if not connection.recv(10_000):
                    return
                if answer is None:
                    connection.settimeout(30)
                    connection.recv(1)  # until the other side has given up
                else:
                    connection.sendall(answer)

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve)
        thread.start()
        address = server.getsockname()
        monkeypatch.setenv(
            fashion_mnist.MIRRORS_VARIABLE, f"http://{address[0]}:{address[1]} {working}"
        )
        try:
            assert fashion_mnist.load("full").kind == "full"
        finally:
            socket.create_connection(address).close()
            thread.join()


@pytest.mark.parametrize(
    ("name", "words"),
    [("smaple", "no such directory; did you mean sample?"), ("own", "no such directory")],
)
def test_what_is_not_there_is_said_to_be_so_whatever_lies_beside_it(
    name, words, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own-notes.txt").touch()
    with pytest.raises(NinError) as caught:
        fashion_mnist.load(name)
    assert str(caught.value) == f"data {name}: {words}"
