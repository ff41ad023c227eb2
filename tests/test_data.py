"""Tests of `helpers.data`: what it loads, that this is always the same, and what happens when a file is not right."""

import contextlib
import dataclasses
import functools
import gzip
import hashlib
import http.server
import json
import math
import os
import random
import struct
import subprocess
import sys
import threading
from pathlib import Path

import mnist1d.data
import numpy as np
import pooch
import pytest
import torch
from scipy.spatial import KDTree
from sklearn.datasets import load_digits

from helpers import data

PARTS = ("train", "validation", "test")
FILES = (
    "train-images-idx3-ubyte.gz",
    "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
)
DEBIAN = Path("/usr/share/datasets/fashion-mnist")


@functools.cache
def loaded(name):
    """A data set that is loaded once for all the tests that only read it."""
    return data.load(name)


@functools.cache
def generated():
    """MNIST-1D as its own package gives it, with the default settings."""
    return mnist1d.data.make_dataset()


def checksum(dataset):
    """Checksum of every bit of every tensor."""
    digest = hashlib.sha256()
    for part in PARTS:
        digest.update(getattr(dataset, f"x_{part}").numpy().tobytes())
        digest.update(getattr(dataset, f"y_{part}").numpy().tobytes())
    return digest.hexdigest()


def pooled(dataset, parts=PARTS):
    """Inputs and labels of several splits, one split after the other."""
    return tuple(
        torch.cat([getattr(dataset, f"{letter}_{part}") for part in parts]).numpy() for letter in "xy"
    )


def pixels(x, lowest, highest, n_levels):
    """The whole numbers from 0 to `n_levels` that an affine map has turned into x."""
    return np.rint((x - np.float32(lowest)) * np.float32(n_levels / (highest - lowest))).astype(np.uint8)


def sorted_examples(x, y):
    """All examples, each as one string of bytes, in an order that depends on their contents alone."""
    rows = np.ascontiguousarray(np.column_stack([x, y]).astype(np.uint8))
    return np.sort(rows.view(f"S{rows.shape[1]}").ravel())


# What is loaded


@pytest.mark.parametrize(
    ("name", "sizes", "image_shape"),
    [("digits", (1197, 300, 300), (8, 8)), ("mnist1d", (3500, 500, 1000), (40,))],
)
def test_sizes_shapes_and_types_are_as_documented(name, sizes, image_shape):
    dataset = data.load(name)
    for part, size in zip(PARTS, sizes, strict=True):
        x, y = getattr(dataset, f"x_{part}"), getattr(dataset, f"y_{part}")
        assert (x.dtype, tuple(x.shape)) == (torch.float32, (size, math.prod(image_shape)))
        assert (y.dtype, tuple(y.shape)) == (torch.int64, (size,))
        assert y.unique().tolist() == list(range(10))
    assert (dataset.name, dataset.n_features, dataset.n_classes) == (name, math.prod(image_shape), 10)
    assert dataset.image_shape == image_shape


def test_default_is_mnist1d():
    assert checksum(data.load()) == checksum(loaded("mnist1d"))


def test_names_are_what_load_accepts():
    assert data.NAMES == ("digits", "mnist1d", "fashion-mnist")


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist", "", None])
def test_unknown_name_is_repeated_and_the_good_ones_are_listed(name):
    with pytest.raises(
        ValueError, match=f"unknown data set {name!r}; the names are digits, mnist1d, fashion-mnist"
    ):
        data.load(name)


def test_repr_gives_sizes_and_no_tensors():
    assert repr(loaded("mnist1d")) == (
        "Dataset('mnist1d': 3500 training, 500 validation and 1000 test examples, 40 features (40,), 10 classes)"
    )


def test_splits_of_the_digits_are_every_example_of_the_source_once():
    x, y = pooled(loaded("digits"))
    source, labels = load_digits(return_X_y=True)
    recovered = pixels(x, x.min(), x.max(), 16)
    assert (sorted_examples(recovered, y) == sorted_examples(source, labels)).all()
    assert len(np.unique(sorted_examples(source, labels))) == len(
        source
    )  # so that a repeated example would show


def test_splits_of_mnist1d_are_every_example_of_the_source_once_and_its_own_test_split():
    dataset, source = loaded("mnist1d"), generated()
    x_test = dataset.x_test.double().numpy()
    std = source["x_test"].std() / x_test.std()
    mean = source["x_test"].mean() - std * x_test.mean()
    np.testing.assert_allclose(mean + std * x_test, source["x_test"], atol=1e-5)
    assert (dataset.y_test.numpy() == source["y_test"]).all()
    x, y = pooled(dataset, ("train", "validation"))
    distance, index = KDTree(source["x"]).query(mean + std * np.float64(x))
    assert distance.max() < 1e-5
    assert sorted(index) == list(range(4000))
    assert (y == source["y"][index]).all()


@pytest.mark.parametrize(("name", "n_levels"), [("digits", 16), ("fashion-mnist", 255)])
def test_one_mean_and_one_std_of_the_training_split_standardise_every_split(name, n_levels, request):
    if name == "fashion-mnist":
        request.getfixturevalue("real_files")
    dataset = loaded(name)
    levels = (dataset.x_train.min().item(), dataset.x_train.max().item(), n_levels)
    train = pixels(dataset.x_train.numpy(), *levels)
    mean, std = train.mean(dtype=np.float64), train.std(dtype=np.float64)
    for part in PARTS:
        x = getattr(dataset, f"x_{part}").numpy()
        np.testing.assert_allclose(x[:1000], (pixels(x[:1000], *levels) - mean) / std, atol=1e-6)


@pytest.mark.parametrize("name", ["digits", "mnist1d"])
def test_training_inputs_have_mean_zero_and_mean_square_one(name):
    x = loaded(name).x_train.double()
    assert x.mean().item() == pytest.approx(0, abs=1e-6)
    assert x.square().mean().item() == pytest.approx(1, abs=1e-6)
    # The other splits do not: their own statistics are not used.
    assert abs(loaded(name).x_validation.double().square().mean().item() - 1) > 1e-4


@pytest.mark.parametrize(
    ("name", "part", "whole"),
    [
        ("digits", "test", PARTS),
        ("digits", "validation", ("train", "validation")),
        ("mnist1d", "validation", ("train", "validation")),
    ],
)
def test_splits_hold_each_class_in_proportion_to_within_one_example(name, part, whole):
    counts = torch.bincount(getattr(loaded(name), f"y_{part}")).numpy()
    counts_of_whole = np.bincount(pooled(loaded(name), whole)[1])
    share = counts.sum() / counts_of_whole.sum()
    assert np.abs(counts - share * counts_of_whole).max() < 1


# Always the same

FRESH_PROCESS = """
import hashlib, json, random, socket

attempts = []
def refuse(*arguments, **keywords):
    attempts.append(repr(arguments))
    raise OSError("no network in this test")
socket.getaddrinfo = socket.create_connection = socket.socket.connect = refuse

import numpy as np
import torch

random.seed(5)
np.random.seed(6)
np.random.randn()
torch.manual_seed(7)

def states():
    kind, keys, *rest = np.random.get_state()
    return {
        "random": repr(random.getstate()),
        "numpy": repr((kind, keys.tolist(), rest)),
        "torch": repr(torch.get_rng_state().tolist()),
    }

before = states()
from helpers import data
checksums = {}
for name in ("digits", "mnist1d"):
    dataset, digest = data.load(name), hashlib.sha256()
    for part in ("train", "validation", "test"):
        digest.update(getattr(dataset, f"x_{part}").numpy().tobytes())
        digest.update(getattr(dataset, f"y_{part}").numpy().tobytes())
    checksums[name] = digest.hexdigest()
after = states()
touched = [generator for generator in before if before[generator] != after[generator]]
print(json.dumps({"checksums": checksums, "touched": touched, "attempts": attempts}))
"""


@pytest.fixture(scope="module")
def fresh(tmp_path_factory):
    """A process with other seeds and hashes, in an empty folder, that loads the digits and MNIST-1D."""
    folder = tmp_path_factory.mktemp("fresh")
    root = Path(data.__file__).parents[1]
    process = subprocess.run(
        [sys.executable, "-c", FRESH_PROCESS],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(root), "PYTHONHASHSEED": "12345"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    return {
        **json.loads(process.stdout),
        "stderr": process.stderr,
        "files": [file.name for file in folder.iterdir()],
    }


@pytest.mark.parametrize("name", ["digits", "mnist1d"])
def test_another_process_loads_the_same_bits(fresh, name):
    assert fresh["checksums"][name] == checksum(loaded(name))


def test_first_load_leaves_the_global_random_states_as_they_were(fresh):
    assert fresh["touched"] == []


def test_digits_and_mnist1d_need_no_network(fresh):
    assert fresh["attempts"] == []


def test_loading_prints_nothing_and_leaves_no_file_in_the_working_folder(fresh):
    assert (fresh["stderr"], fresh["files"]) == ("", [])


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("digits", "9a6003bad535b597c14f7a3bcb369532b8311c5d0654b5717735d80461c61516"),
        ("mnist1d", "ec4ea9c66629eb3c6db8009408432f15ef2777d897f0660c630a3a4b5c5e17da"),
    ],
    ids=["digits", "mnist1d"],
)
def test_splits_are_those_of_the_book(name, expected):
    labels = pooled(loaded(name))[1]
    assert hashlib.sha256(labels.astype("<i8").tobytes()).hexdigest() == expected


@pytest.mark.parametrize("name", ["digits", "mnist1d"])
def test_what_one_caller_does_to_the_tensors_no_other_sees(name):
    spoiled = data.load(name)
    before = checksum(spoiled)
    for part in PARTS:
        getattr(spoiled, f"x_{part}").fill_(9.0)
        getattr(spoiled, f"y_{part}").fill_(9)
    assert checksum(data.load(name)) == before != checksum(spoiled)


@pytest.fixture
def generate(monkeypatch):
    """Put another generator in the place of the mnist1d package's, past the cache."""

    def put(function):
        monkeypatch.setattr(data, "_mnist1d", data._mnist1d.__wrapped__)
        monkeypatch.setattr(mnist1d.data, "make_dataset", function)

    return put


def test_a_package_that_generates_other_data_is_an_error(generate):
    x = generated()["x_test"].copy()
    x[3, 5] += 0.01
    generate(lambda: {**generated(), "x_test": x})
    with pytest.raises(RuntimeError, match=r"other data than this book .* try `pip install mnist1d=="):
        data.load("mnist1d")


def test_last_bits_that_differ_between_processors_are_not_an_error(generate):
    generate(lambda: {**generated(), "x": generated()["x"] * (1 + 1e-12)})
    assert len(data.load("mnist1d").x_train) == 3500


def test_global_random_states_are_restored_when_generation_fails(generate):
    def fail():
        random.seed(0)
        np.random.seed(0)  # noqa: NPY002
        raise KeyboardInterrupt

    generate(fail)
    before = random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002
    with pytest.raises(KeyboardInterrupt):
        data.load("mnist1d")
    assert (random.getstate(), np.random.get_state()[1].tolist()) == before  # noqa: NPY002


# Fashion-MNIST


@pytest.fixture
def real_files():
    """The folder of the real files. Without them a reader's machine skips the test; continuous integration fails."""
    if not DEBIAN.is_dir():
        message = "needs the real Fashion-MNIST: Debian's package dataset-fashion-mnist"
        pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)
    return DEBIAN


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder that RECTIFIED_DATA names, on a machine without Debian's package."""
    monkeypatch.setenv("RECTIFIED_DATA", str(tmp_path))
    monkeypatch.setattr(data, "_FASHION_MNIST_DEBIAN", tmp_path / "not installed")
    return tmp_path


def link(real, folder):
    for file in FILES:
        (folder / file).symlink_to(real / file)


def values(path, header):
    with gzip.open(path) as file:
        return np.frombuffer(file.read(), dtype=np.uint8)[header:]


def test_fashion_mnist_has_the_documented_sizes_and_exact_class_counts(real_files):
    dataset = loaded("fashion-mnist")
    for part, size in zip(PARTS, (50_000, 10_000, 10_000), strict=True):
        x, y = getattr(dataset, f"x_{part}"), getattr(dataset, f"y_{part}")
        assert (x.dtype, tuple(x.shape)) == (torch.float32, (size, 784))
        assert (y.dtype, tuple(y.shape)) == (torch.int64, (size,))
        assert torch.bincount(y).tolist() == [size // 10] * 10
    assert (dataset.n_classes, dataset.image_shape) == (10, (28, 28))


def test_splits_of_fashion_mnist_are_every_example_once_and_the_official_test_split(real_files):
    dataset = loaded("fashion-mnist")
    levels = (dataset.x_train.min().item(), dataset.x_train.max().item(), 255)
    assert (pixels(dataset.x_test.numpy(), *levels).ravel() == values(real_files / FILES[2], 16)).all()
    assert (dataset.y_test.numpy() == values(real_files / FILES[3], 8)).all()
    x, y = pooled(dataset, ("train", "validation"))
    source, labels = values(real_files / FILES[0], 16).reshape(-1, 784), values(real_files / FILES[1], 8)
    assert (sorted_examples(pixels(x, *levels), y) == sorted_examples(source, labels)).all()


@pytest.mark.parametrize("subfolder", ["", "fashion-mnist"])
def test_rectified_data_names_the_folder_of_the_files_or_the_one_above_it(real_files, folder, subfolder):
    (folder / subfolder).mkdir(exist_ok=True)
    link(real_files, folder / subfolder)
    assert checksum(data.load("fashion-mnist")) == checksum(loaded("fashion-mnist"))


@pytest.mark.parametrize(
    ("present", "lacks"), [(FILES[:0], FILES), (FILES[:3], FILES[3:]), (FILES[1:], FILES[:1])]
)
@pytest.mark.parametrize("subfolder", ["", "fashion-mnist"])
def test_incomplete_folder_is_an_error_that_names_it_and_what_it_lacks(folder, present, lacks, subfolder):
    (folder / subfolder).mkdir(exist_ok=True)
    for file in present:
        (folder / subfolder / file).touch()
    with pytest.raises(FileNotFoundError, match="unset the environment variable RECTIFIED_DATA") as caught:
        data.load("fashion-mnist")
    lacking = folder / subfolder if present else folder
    assert str(caught.value).startswith(
        f"{lacking} lacks {', '.join(lacks)} of Fashion-MNIST; put all four files into"
    )


@pytest.mark.parametrize("value", [None, ""])
def test_incomplete_debian_package_is_an_error_that_says_to_install_it_again(folder, monkeypatch, value):
    monkeypatch.delenv("RECTIFIED_DATA") if value is None else monkeypatch.setenv("RECTIFIED_DATA", value)
    monkeypatch.setattr(data, "_FASHION_MNIST_DEBIAN", folder)
    with pytest.raises(
        FileNotFoundError, match="install Debian's package dataset-fashion-mnist again"
    ) as caught:
        data.load("fashion-mnist")
    assert str(caught.value).startswith(f"{folder} lacks {', '.join(FILES)} of")


def altered(packed):
    """The same file with one pixel of another grey, packed without fault."""
    content = bytearray(gzip.decompress(packed))
    content[1000] ^= 1
    return gzip.compress(bytes(content), compresslevel=1)


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda packed: b"", id="empty"),
        pytest.param(lambda packed: packed[: len(packed) // 2], id="half"),
        pytest.param(lambda packed: packed[:-1], id="last byte lost"),
        pytest.param(lambda packed: packed[:5000] + b"\xff" + packed[5001:], id="one byte altered"),
        pytest.param(lambda packed: packed + b"more", id="extended"),
        pytest.param(altered, id="one pixel altered"),
        pytest.param(
            lambda packed: gzip.compress(gzip.decompress(packed)[:-784], compresslevel=1), id="one image lost"
        ),
        pytest.param(lambda packed: b"<html>404</html>", id="a web page"),
        pytest.param(lambda packed: (DEBIAN / FILES[1]).read_bytes(), id="the label file"),
        pytest.param(lambda packed: (DEBIAN / FILES[0]).read_bytes(), id="the other image file"),
    ],
)
def test_file_that_is_not_right_is_an_error_that_names_it_and_says_what_to_do(real_files, folder, damage):
    link(real_files, folder)
    bad = folder / FILES[2]
    packed = bad.read_bytes()
    bad.unlink()
    bad.write_bytes(damage(packed))
    with pytest.raises(
        ValueError, match=f"truncated, altered or another file; replace it with http://.*/{FILES[2]}"
    ) as caught:
        data.load("fashion-mnist")
    assert str(caught.value).startswith(f"{bad} ")


def test_label_file_in_the_place_of_another_label_file_is_an_error(real_files, folder):
    link(real_files, folder)
    (folder / FILES[3]).unlink()
    (folder / FILES[3]).symlink_to(real_files / FILES[1])
    with pytest.raises(ValueError, match=FILES[3]):
        data.load("fashion-mnist")


# Download


def as_published(real, file):
    """A file as its authors published it: Debian's, with the name and the time that it took out of the header."""
    packed = (real / file).read_bytes()
    time = 1504176606 if file.startswith("train") else 1504176627
    name = file.removesuffix(".gz").encode() + b"\0"
    return packed[:3] + b"\x08" + struct.pack("<I", time) + packed[8:10] + name + packed[10:]


@contextlib.contextmanager
def serving(contents, announced=None):
    """Serve files on this machine, under the length that is `announced`; gives the address."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            content = contents.get(self.path.removeprefix("/"))
            if content is None:
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Length", str(announced or len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *arguments):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def cache(folder, monkeypatch):
    """The folder of downloads of a machine that has no local copy and has not downloaded anything yet."""
    monkeypatch.delenv("RECTIFIED_DATA")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(pooch, "os_cache", lambda project: folder / "cache" / project)
    return folder / "cache" / "rectified" / "fashion-mnist"


def test_published_files_have_the_checksums_of_their_authors(real_files):
    # The MD5 sums of the table in the README of https://github.com/zalandoresearch/fashion-mnist.
    published = [as_published(real_files, file) for file in FILES]
    assert [hashlib.md5(content).hexdigest() for content in published] == [
        "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
        "25c81989df183df01b3e8a0aad5dffbe",
        "bef4ecab320f06d8554ea6380940ec79",
        "bb300cfdad3c16e7a12a480ee83cd310",
    ]


def test_download_goes_on_where_it_broke_off_and_is_kept(real_files, cache, monkeypatch, capsys):
    published = {file: as_published(real_files, file) for file in FILES}
    with serving({file: published[file] for file in FILES[:2]}) as address:
        monkeypatch.setattr(data, "_FASHION_MNIST_URL", address)
        with pytest.raises(OSError, match=f"could not download {address}{FILES[2]}"):
            data.load("fashion-mnist")
    with serving({file: published[file] for file in FILES[2:]}) as address:
        monkeypatch.setattr(data, "_FASHION_MNIST_URL", address)
        assert checksum(data.load("fashion-mnist")) == checksum(loaded("fashion-mnist"))
    output = capsys.readouterr()
    assert output.out == ""
    assert "100%" in output.err  # the progress bar
    # The servers are gone. What has been downloaded needs none; a file that was damaged since is not trusted.
    assert checksum(data.load("fashion-mnist")) == checksum(loaded("fashion-mnist"))
    with (cache / FILES[3]).open("ab") as file:
        file.write(b"more")
    with pytest.raises(OSError, match=f"could not download {address}{FILES[3]}"):
        data.load("fashion-mnist")


@pytest.mark.parametrize(
    ("contents", "announced"),
    [
        pytest.param({FILES[0]: b"x" * 5000}, None, id="another file"),
        pytest.param({FILES[0]: b"x" * 5000}, 26_421_880, id="broken off"),
        pytest.param({}, None, id="not found"),
    ],
)
def test_download_that_fails_leaves_nothing_and_says_what_to_do(cache, monkeypatch, contents, announced):
    with serving(contents, announced) as address:
        monkeypatch.setattr(data, "_FASHION_MNIST_URL", address)
        with pytest.raises(OSError, match=f"could not download {address}{FILES[0]} to .*RECTIFIED_DATA"):
            data.load("fashion-mnist")
    assert list(cache.iterdir()) == []


def test_download_without_a_connection_says_what_to_do(cache, monkeypatch):
    with serving({}) as address:
        pass
    monkeypatch.setattr(data, "_FASHION_MNIST_URL", address)
    with pytest.raises(OSError, match=f"could not download {address}{FILES[0]} to .*working connection"):
        data.load("fashion-mnist")
    assert list(cache.iterdir()) == []


# A data set of one's own


@pytest.fixture
def own():
    """The arguments of a small data set: 6, 4 and 2 examples of 3 features in 2 classes."""
    sizes = dict(zip(PARTS, (6, 4, 2), strict=True))
    return {
        "name": "own",
        **{f"x_{part}": torch.ones(size, 3) for part, size in sizes.items()},
        **{f"y_{part}": torch.arange(size) % 2 for part, size in sizes.items()},
        "n_classes": 2,
        "image_shape": (3,),
    }


def test_own_data_make_a_data_set_that_cannot_be_reassigned(own):
    dataset = data.Dataset(**own)
    assert (dataset.n_features, dataset.n_classes) == (3, 2)
    with pytest.raises(dataclasses.FrozenInstanceError):
        dataset.n_classes = 3


@pytest.mark.parametrize(
    ("field", "value", "error", "message"),
    [
        (
            "x_train",
            np.ones((6, 3)),
            TypeError,
            r"x_train must be a torch.Tensor, but was given ndarray; try",
        ),
        ("y_test", [0, 1], TypeError, r"y_test must be a torch.Tensor, but was given list; try"),
        ("n_classes", 2.0, TypeError, r"n_classes must be an int, but was given 2\.0"),
        ("x_train", torch.ones(6, 3).double(), ValueError, r"x_train must be float32 .* torch.float64 .*try"),
        (
            "x_test",
            torch.ones(2, 1, 3),
            ValueError,
            r"x_test must be .* shape \(n, d\), .* \(2, 1, 3\); try .*flatten",
        ),
        (
            "y_train",
            torch.zeros(6, 1).long(),
            ValueError,
            r"y_train must be .* shape \(n,\), .* \(6, 1\); try",
        ),
        (
            "y_train",
            torch.zeros(6),
            ValueError,
            r"y_train must be int64 .* torch.float32 .*try y_train.*long",
        ),
        ("y_validation", torch.zeros(5).long(), ValueError, r"the same number .* \(4, 3\) and \(5,\)"),
        ("x_train", torch.ones(6, 0), ValueError, r"at least one feature, .* \(6, 0\) and \(6,\)"),
        ("x_validation", torch.ones(4, 2), ValueError, "x_validation has 2 features, but x_train has 3"),
        (
            "x_test",
            torch.tensor([[1.0, 2, 3], [1, torch.nan, -torch.inf]]),
            ValueError,
            "x_test holds 2 values that are",
        ),
        (
            "y_test",
            torch.tensor([0, 2]),
            ValueError,
            "from 0 to n_classes - 1 = 1, but was given labels from 0 to 2",
        ),
        ("y_train", torch.tensor([0, 1, -1, 0, 1, 0]), ValueError, "but was given labels from -1 to 1"),
        (
            "image_shape",
            (2, 2),
            ValueError,
            r"image_shape \(2, 2\) does not hold the 3 features .* give \(3,\)",
        ),
    ],
)
def test_own_data_that_do_not_fit_are_an_error(own, field, value, error, message):
    with pytest.raises(error, match=message):
        data.Dataset(**{**own, field: value})


def test_own_data_without_an_example_are_an_error(own):
    with pytest.raises(ValueError, match=r"at least one, .* \(0, 3\) and \(0,\)"):
        data.Dataset(**{**own, "x_validation": torch.ones(0, 3), "y_validation": torch.ones(0).long()})
