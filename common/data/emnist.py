"""EMNIST: handwritten digits and letters, 28×28, in six splits of NIST Special Database 19.

Source: Cohen, Afshar, Tapson & van Schaik 2017, "EMNIST: an extension of MNIST to handwritten letters".
"""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

import numpy as np

from common.charset import Charset
from common.data.characters import CharacterDataset, CharacterSplit
from common.data.download import Remote, cache_folder, cannot_write, choose_folder, fetch
from common.data.idx import find_idx, read_characters
from common.data.splits import hold_out
from common.errors import UserError

# one archive with all six splits, 562 MB. Addresses and MD5 are those of torchvision.
_ARCHIVE = Remote(
    file_name="gzip.zip",
    urls=(
        "https://biometrics.nist.gov/cs_links/EMNIST/gzip.zip",
        "https://www.itl.nist.gov/iaui/vip/cs_links/EMNIST/gzip.zip",
    ),
    known_hash="md5:58c8d27c78d21e728a6bc7b3cc06412e",
)


def _file_names(split: str) -> list[str]:
    kinds = ("images-idx3", "labels-idx1")
    return [f"emnist-{split}-{part}-{kind}-ubyte" for part in ("train", "test") for kind in kinds]


def locate(folder: Path | None, split: str) -> Path:
    """The folder with the split's files: `folder`, or the one in the data root, or the cache, filled by a download."""
    names = _file_names(split)
    chosen = choose_folder("emnist", folder, lambda path: any(find_idx(path, name) for name in names))
    if chosen is None:
        chosen = cache_folder() / "emnist"
        wanted = [f"{name}.gz" for name in names] + [f"emnist-{split}-mapping.txt"]
        if not all((chosen / name).exists() for name in wanted):
            _extract(fetch(_ARCHIVE, chosen), wanted)
    return chosen


def _extract(archive: Path, wanted: list[str]) -> None:
    """Extract the wanted files, and no others, to the folder of the archive."""
    part = archive.parent / "extracting.part"
    try:
        with zipfile.ZipFile(archive) as zipped:
            members = {Path(member).name: member for member in zipped.namelist()}
            for name in wanted:
                with zipped.open(members[name]) as source, part.open("wb") as target:
                    shutil.copyfileobj(source, target)
                part.replace(archive.parent / name)
    except KeyError as error:
        raise UserError(f"{archive} does not hold {error}; expected EMNIST's gzip.zip, delete it and retry") from None
    except zipfile.BadZipFile as error:
        raise UserError(f"{archive} is damaged ({error}); delete it and retry") from None
    except OSError as error:
        raise cannot_write(archive.parent, error) from None
    finally:
        part.unlink(missing_ok=True)


def read_mapping(path: Path) -> dict[int, str]:
    """The character of each label.

    Each line of the file has a label and a code point. In the letters split, the code point of the lower case letter
    follows, and is used.

    Raises:
        UserError: the file is missing, or a line has another form.
    """
    try:
        lines = path.read_text(encoding="ascii").splitlines()
    except FileNotFoundError:
        raise UserError(f"{path} is missing; put EMNIST's mapping file beside its images") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read ({error}); expected EMNIST's mapping file, copy it again") from None
    mapping: dict[int, str] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            label, *codes = map(int, line.split())
            mapping[label] = chr(codes[-1])
        except (ValueError, IndexError, OverflowError):
            raise UserError(
                f"{path}, line {number}: {line!r} is not a label and its code points; expected a line such as '0 48', "
                "copy EMNIST's mapping file again"
            ) from None
    if not mapping or not 0 <= min(mapping) <= max(mapping) <= 255:
        raise UserError(f"{path} maps the labels {sorted(mapping)}; expected labels from 0 to 255, copy it again")
    return mapping


def load(name: str, folder: Path | None, split: str) -> CharacterDataset:
    """Load one of EMNIST's splits.

    Test is the official test set. Validation is a tenth of the official training set.

    Args:
        name: name of the data set.
        folder: the folder with the files; None uses the data root, the cache or a download.
        split: byclass, bymerge, balanced, letters, digits or mnist.

    Raises:
        UserError: the files cannot be downloaded or are damaged.
    """
    chosen = locate(folder, split)
    mapping = read_mapping(chosen / f"emnist-{split}-mapping.txt")
    charset = Charset(tuple(mapping[label] for label in sorted(mapping)))
    class_of = {label: k for k, label in enumerate(sorted(mapping))}
    official, test = (
        _upright(read_characters(chosen, f"emnist-{split}-{part}", class_of)) for part in ("train", "test")
    )
    train, validation = hold_out(official)
    return CharacterDataset(name=name, charset=charset, train=train, validation=validation, test=test)


def _upright(split: CharacterSplit) -> CharacterSplit:
    # EMNIST's files store each image column by column
    return CharacterSplit(images_NHW=np.ascontiguousarray(split.images_NHW.transpose(0, 2, 1)), labels_N=split.labels_N)
