"""Data sets as tensors, split and standardised the same way on every machine.

Every experiment starts here: `load` gives a `Dataset`, which `helpers.training` trains networks on. The digits
and MNIST-1D need no network connection; Fashion-MNIST needs its four files.
"""

from __future__ import annotations

import functools
import gzip
import hashlib
import math
import os
import random
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

__all__ = ["NAMES", "Dataset", "load"]

#: The names that `load` knows.
NAMES: tuple[str, ...] = ("digits", "mnist1d", "fashion-mnist")


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Dataset:
    """A classification data set in three parts: training, validation and test.

    `load` makes one by name; make your own to train on other data. It is checked when it is made.

    Parameters
    ----------
    name : str
        What to call it.
    x_train, x_validation, x_test : torch.Tensor
        Inputs: float32, (n, d), finite, one row an example. Standardise them: the theory of this book starts
        from a mean square of about 1.
    y_train, y_validation, y_test : torch.Tensor
        Labels: int64, (n,), each in [0, `n_classes`).
    n_classes : int
        Number of classes.
    image_shape : tuple of int
        Shape that one row of x has as an image, (28, 28) for example; (d,) where it is none.

    Raises
    ------
    TypeError
        If an x or a y is not a tensor, or `n_classes` not an int.
    ValueError
        If a dtype, a shape, a value of x or a label is not as above.
    """

    name: str
    x_train: Tensor
    y_train: Tensor
    x_validation: Tensor
    y_validation: Tensor
    x_test: Tensor
    y_test: Tensor
    n_classes: int
    image_shape: tuple[int, ...]

    def __post_init__(self) -> None:
        if not isinstance(self.n_classes, int):
            raise TypeError(f"n_classes must be an int, but was given {self.n_classes!r}")
        for part in ("train", "validation", "test"):
            self._check(f"x_{part}", f"y_{part}")
        if math.prod(self.image_shape) != self.n_features:
            raise ValueError(
                f"image_shape {tuple(self.image_shape)} does not hold the {self.n_features} features of x_train; "
                f"where the input is no image, give ({self.n_features},)"
            )

    def _check(self, x_name: str, y_name: str) -> None:
        """Raise an error if the inputs and the labels of one part are not fit to train on."""
        x, y = getattr(self, x_name), getattr(self, y_name)
        for name, value in ((x_name, x), (y_name, y)):
            if not isinstance(value, Tensor):
                raise TypeError(
                    f"{name} must be a torch.Tensor, but was given {type(value).__name__}; try torch.as_tensor({name})"
                )
        if x.ndim != 2 or x.dtype != torch.float32:
            raise ValueError(
                f"{x_name} must be float32 of shape (n, d), but was given {x.dtype} of shape {tuple(x.shape)}; "
                f"try {x_name}.flatten(1).float()"
            )
        if y.ndim != 1 or y.dtype != torch.int64:
            raise ValueError(
                f"{y_name} must be int64 of shape (n,), but was given {y.dtype} of shape {tuple(y.shape)}; "
                f"try {y_name}.flatten().long()"
            )
        if len(x) != len(y) or x.numel() == 0:
            raise ValueError(
                f"{x_name} and {y_name} must hold the same number of examples, at least one, with at least one "
                f"feature, but were given shapes {tuple(x.shape)} and {tuple(y.shape)}"
            )
        if x.shape[1] != self.n_features:
            raise ValueError(f"{x_name} has {x.shape[1]} features, but x_train has {self.n_features}")
        if not x.isfinite().all():
            raise ValueError(
                f"{x_name} holds {int((~x.isfinite()).sum())} values that are infinite or NaN; "
                "remove or replace them first"
            )
        lowest, highest = int(y.min()), int(y.max())
        if lowest < 0 or highest >= self.n_classes:
            raise ValueError(
                f"{y_name} must hold labels from 0 to n_classes - 1 = {self.n_classes - 1}, "
                f"but was given labels from {lowest} to {highest}"
            )

    @property
    def n_features(self) -> int:
        """The length d of an input: an int."""
        return self.x_train.shape[1]

    def __repr__(self) -> str:
        return (
            f"Dataset({self.name!r}: {len(self.x_train)} training, {len(self.x_validation)} validation and "
            f"{len(self.x_test)} test examples, {self.n_features} features {tuple(self.image_shape)}, "
            f"{self.n_classes} classes)"
        )


def load(name: str = "mnist1d") -> Dataset:
    """Load the data set called `name`, split and standardised.

    Parameters
    ----------
    name : str
        One of `NAMES`:

        ================= ======== =============== ========================= =====================
        name              features `image_shape`   examples: training,       needs
                                                   validation, test
        ================= ======== =============== ========================= =====================
        ``digits``        64       (8, 8)          1197, 300, 300            nothing
        ``mnist1d``       40       (40,)           3500, 500, 1000           nothing
        ``fashion-mnist`` 784      (28, 28)        50000, 10000, 10000       four files, see below
        ================= ======== =============== ========================= =====================

    Returns
    -------
    Dataset
        x is float32 (n, d), y int64 (n,). The tensors are new at every call: what one caller does to them, no
        other sees. Examples come in random order, always the same.

    Raises
    ------
    ValueError
        If the name is unknown (the message lists the names), or if a file of Fashion-MNIST is truncated or
        altered.
    FileNotFoundError
        If the folder that should hold Fashion-MNIST lacks some of its files.
    OSError
        If Fashion-MNIST cannot be downloaded.
    RuntimeError
        If the installed mnist1d package generates other data than this book was written with.

    Notes
    -----
    *Standardisation.* ``x = (raw - m) / s``, with one mean m and one standard deviation s over all features of
    the whole training split. An image stays an image, pixels that never vary do no harm, and the mean square of
    the training inputs is 1, which is where the theory of signal propagation starts (chapter 1).

    *Splits.* They are deterministic and stratified: the number of examples of each class in a split differs by
    less than one from its share. MNIST-1D and Fashion-MNIST keep the test split of their authors (MNIST-1D's is
    not stratified); the rest is divided.

    *Randomness.* A call leaves the global generators of `random`, `numpy` and `torch` as it finds them.

    *Fashion-MNIST's files* are looked for in the folder that the environment variable ``RECTIFIED_DATA`` names
    and in its subfolder ``fashion-mnist``; where the variable is not set, in the folder of Debian's package
    ``dataset-fashion-mnist``; where that is not installed, they are downloaded once (30 MB) into the user's
    cache. Wherever they come from, their contents are checked; a download that breaks off leaves nothing behind.

    *Sources.* Digits: the test set of Alpaydin & Kaynak 1998, *Optical Recognition of Handwritten Digits*, UCI
    Machine Learning Repository, doi:10.24432/C50P49, CC BY 4.0, as bundled with scikit-learn. MNIST-1D:
    Greydanus & Kobak 2020, arXiv:2011.14439, generated by their package mnist1d, Apache 2.0. Fashion-MNIST:
    Xiao, Rasul & Vollgraf 2017, arXiv:1708.07747, MIT.

    Examples
    --------
    >>> load("digits")
    Dataset('digits': 1197 training, 300 validation and 300 test examples, 64 features (8, 8), 10 classes)
    """
    if name not in NAMES:
        raise ValueError(f"unknown data set {name!r}; the names are {', '.join(NAMES)}")
    if name == "digits":
        (x, y, x_test, y_test), n_validation, image_shape = _digits(), 300, (8, 8)
    elif name == "mnist1d":
        (x, y, x_test, y_test), n_validation, image_shape = _mnist1d(), 500, (40,)
    else:
        (x, y, x_test, y_test), n_validation, image_shape = _fashion_mnist(), 10_000, (28, 28)
    x_train, y_train, x_validation, y_validation = _split(x, y, n_validation)
    mean = float(x_train.mean(dtype=np.float64))
    std = float(x_train.std(dtype=np.float64))

    def standardized(raw: np.ndarray) -> Tensor:
        return torch.tensor(raw, dtype=torch.float32).sub_(mean).div_(std)

    return Dataset(
        name=name,
        x_train=standardized(x_train),
        y_train=torch.tensor(y_train, dtype=torch.int64),
        x_validation=standardized(x_validation),
        y_validation=torch.tensor(y_validation, dtype=torch.int64),
        x_test=standardized(x_test),
        y_test=torch.tensor(y_test, dtype=torch.int64),
        n_classes=10,
        image_shape=image_shape,
    )


# Each source below gives raw arrays: x and y that training and validation share, x and y of the test split.
_Arrays = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def _split(x: np.ndarray, y: np.ndarray, n: int) -> _Arrays:
    """Take `n` examples out, stratified by label: gives x and y of the others, then x and y of the n."""
    from sklearn.model_selection import train_test_split

    x_rest, x_taken, y_rest, y_taken = train_test_split(x, y, test_size=n, stratify=y, random_state=0)
    return x_rest, y_rest, x_taken, y_taken


def _digits() -> _Arrays:
    """Read the digits from scikit-learn's bundle: integers from 0 to 16."""
    from sklearn.datasets import load_digits

    return _split(*load_digits(return_X_y=True), 300)


# Of the generated data in thousandths, rounded. No value is closer than 2.6e-9 to where rounding turns, so the
# last bits, in which processors differ, do not matter.
_MNIST1D_SHA256 = "f5c80757e99bfe3f9fe7f4be1f47c3859562856fa03aa91e205ce5383895c963"


@functools.cache
def _mnist1d() -> _Arrays:
    """Generate MNIST-1D by its package: two seconds for the first call in a process, none after that."""
    from mnist1d.data import make_dataset

    # The package seeds the global generators and draws from them.
    numpy_state, python_state = np.random.get_state(), random.getstate()  # noqa: NPY002
    try:
        generated = make_dataset()
    finally:
        np.random.set_state(numpy_state)  # noqa: NPY002
        random.setstate(python_state)
    arrays = tuple(generated[key] for key in ("x", "y", "x_test", "y_test"))
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.rint(array * 1000).astype("<i4").tobytes())
    if digest.hexdigest() != _MNIST1D_SHA256:
        raise RuntimeError(
            "the installed mnist1d package generates other data than this book was written with; "
            "try `pip install mnist1d==0.0.2.post1`, and load MNIST-1D where no other thread uses numpy.random"
        )
    return arrays


_FASHION_MNIST_URL = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"
_FASHION_MNIST_DEBIAN = Path("/usr/share/datasets/fashion-mnist")

# SHA-256 of each file as published, by which a download is judged, and of its contents, by which every copy is:
# Debian packs the files anew.
_FASHION_MNIST_FILES = {
    "train-images-idx3-ubyte.gz": (
        "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
        "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    ),
    "train-labels-idx1-ubyte.gz": (
        "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
        "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    ),
    "t10k-images-idx3-ubyte.gz": (
        "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
        "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    ),
    "t10k-labels-idx1-ubyte.gz": (
        "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
        "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    ),
}


def _fashion_mnist() -> _Arrays:
    """Read Fashion-MNIST from its four files: integers from 0 to 255."""
    folder = _fashion_mnist_folder() or _download_fashion_mnist()
    train_images, train_labels, test_images, test_labels = (
        np.frombuffer(_contents(folder / file), dtype=np.uint8) for file in _FASHION_MNIST_FILES
    )
    # In the idx format a header of 4 bytes, and 4 more for each dimension, comes before the values.
    return (
        train_images[16:].reshape(-1, 784),
        train_labels[8:],
        test_images[16:].reshape(-1, 784),
        test_labels[8:],
    )


def _fashion_mnist_folder() -> Path | None:
    """Find the folder of a local copy, and raise an error if it is not complete."""
    chosen = os.environ.get("RECTIFIED_DATA")
    if chosen:
        folders = [Path(chosen).expanduser(), Path(chosen).expanduser() / "fashion-mnist"]
        advice = (
            f"put all four files into {folders[0]} or its subfolder fashion-mnist, "
            "or unset the environment variable RECTIFIED_DATA, which names it"
        )
    elif _FASHION_MNIST_DEBIAN.is_dir():
        folders = [_FASHION_MNIST_DEBIAN]
        advice = "install Debian's package dataset-fashion-mnist again"
    else:
        return None
    missing = {
        folder: [file for file in _FASHION_MNIST_FILES if not (folder / file).is_file()] for folder in folders
    }
    folder = min(folders, key=lambda folder: len(missing[folder]))
    if missing[folder]:
        raise FileNotFoundError(f"{folder} lacks {', '.join(missing[folder])} of Fashion-MNIST; {advice}")
    return folder


def _download_fashion_mnist() -> Path:
    """Download the files that the user's cache does not hold yet; pooch keeps none with a wrong checksum."""
    import pooch

    folder = Path(pooch.os_cache("rectified")) / "fashion-mnist"
    for file, (sha256, _) in _FASHION_MNIST_FILES.items():
        url = _FASHION_MNIST_URL + file
        try:
            pooch.retrieve(url, known_hash=f"sha256:{sha256}", fname=file, path=folder, progressbar=True)
        except (OSError, ValueError) as error:
            raise OSError(
                f"could not download {url} to {folder} ({error}); try again with a working connection, or put "
                f"{', '.join(_FASHION_MNIST_FILES)} into a folder "
                "and name it in the environment variable RECTIFIED_DATA"
            ) from error
    return folder


def _contents(path: Path) -> bytes:
    """Unpack a file of Fashion-MNIST, and raise an error if it is not exactly that file."""
    advice = f"it is truncated, altered or another file; replace it with {_FASHION_MNIST_URL}{path.name}"
    try:
        contents = gzip.decompress(path.read_bytes())
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"{path} cannot be unpacked ({error}): {advice}") from error
    if hashlib.sha256(contents).hexdigest() != _FASHION_MNIST_FILES[path.name][1]:
        raise ValueError(f"{path} does not hold what Fashion-MNIST's file of that name holds: {advice}")
    return contents
