"""MNIST: 60,000 + 10,000 handwritten digits, 28×28.

Source: LeCun, Bottou, Bengio & Haffner 1998, "Gradient-based learning applied to document recognition".
"""

from __future__ import annotations

from pathlib import Path

from common.charset import DIGITS
from common.data.characters import CharacterDataset
from common.data.download import Remote, cache_folder, choose_folder, fetch
from common.data.idx import find_idx, read_characters
from common.data.splits import hold_out

_MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)
# MD5 of the official gzip files, the same that torchvision checks
_MD5 = {
    "train-images-idx3-ubyte": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
    "train-labels-idx1-ubyte": "d53e105ee54ea40749a09fcbcd1e9432",
    "t10k-images-idx3-ubyte": "9fb629c4189551a2d022fa330f9573f3",
    "t10k-labels-idx1-ubyte": "ec29112dd5afa0611ce80d1b7f02629c",
}


def locate(folder: Path | None) -> Path:
    """The folder with the four files: `folder`, or the one in the data root, or the cache, filled by a download."""
    chosen = choose_folder("mnist", folder, lambda path: any(find_idx(path, name) for name in _MD5))
    if chosen is None:
        chosen = cache_folder() / "mnist"
        for name, md5 in _MD5.items():
            urls = tuple(f"{mirror}{name}.gz" for mirror in _MIRRORS)
            fetch(Remote(file_name=f"{name}.gz", urls=urls, known_hash=f"md5:{md5}"), chosen)
    return chosen


def load(folder: Path | None) -> CharacterDataset:
    """Load MNIST. Test is the official test set. Validation is a tenth of the official training set.

    Args:
        folder: the folder with the files; None uses the data root, the cache or a download.

    Raises:
        UserError: the files cannot be downloaded or are damaged.
    """
    chosen = locate(folder)
    class_of = {k: k for k in range(len(DIGITS))}
    train, validation = hold_out(read_characters(chosen, "train", class_of))
    test = read_characters(chosen, "t10k", class_of)
    return CharacterDataset(name="mnist", charset=DIGITS, train=train, validation=validation, test=test)
