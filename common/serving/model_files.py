"""The models of the service: their files, whose content the engine keeps, and what a process makes of them.

The engine keeps the content of the files that serve. A process that takes the place of a lost one therefore loads the
same models, even if the files of the run have changed since.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from common.errors import UserError
from common.reading.shipped import FINDER, MODELS, PRIOR, READER, check_shipped
from common.recognizer import Device, Recognizer
from common.serving.reply import ModelInfo
from common.serving.settings import EngineConfig
from common.training.reader import Reader
from common.training.trained import open_recognizer, open_weights, prior_path, weights_path
from common.training.verification import compare
from common.weights import WeightsFile, load_weights

CARD = "MODEL_CARD.md"


@dataclass(frozen=True, kw_only=True)
class ModelFiles:
    """The content of the files of a finder, a reader and its character prior."""

    finder: bytes
    reader: bytes
    prior: bytes | None
    card: str
    """The model card, Markdown; empty if there is none."""
    shipped: bool
    """Whether the reader is the one that ships."""

    @classmethod
    def of(cls, run: Path | None, finder: Path | None) -> ModelFiles:
        """Read the files; see `EngineConfig`.

        Raises:
            UserError: one is missing or damaged.
        """
        if run is not None and open_weights(run).spec.task == "pages" and finder is None:
            run, finder = None, run
        reader = READER if run is None else weights_path(run)
        prior, card = (PRIOR, MODELS / CARD) if run is None else (prior_path(run), prior_path(run).with_name(CARD))
        return cls(
            finder=_content(FINDER if finder is None else weights_path(finder)),
            reader=_content(reader),
            prior=prior.read_bytes() if prior.is_file() else None,
            card=card.read_text(encoding="utf-8") if card.is_file() else "",
            shipped=run is None,
        )

    @cached_property
    def identity(self) -> str:
        """See `ModelInfo.identity`."""
        return hashlib.sha256(self.finder + self.reader + (self.prior or b"")).hexdigest()[:12]

    def open(self, framework: str | None, device: Device) -> Models:
        """Load the models.

        Raises:
            UserError: a file is damaged, or the framework or the device is missing.
        """
        content = load_weights(self.reader)
        if content.spec.task == "pages":
            raise UserError(f"a {content.spec.rung} finds lines and reads none; name it as finder")
        reader = Reader.of(content, self.prior or b"", (framework or "numpy") if self.shipped else framework, device)
        models = {"reader": (reader.recognizer, content)}
        if content.spec.task == "lines":
            finder = load_weights(self.finder)
            models["finder"] = (open_recognizer(finder, reader.framework, device)[0], finder)
        return Models(files=self, reader=reader, device=device, models=models)


@dataclass(frozen=True, kw_only=True)
class Models:
    """The models of a process."""

    files: ModelFiles
    reader: Reader
    device: Device
    models: Mapping[str, tuple[Recognizer, WeightsFile]]
    """The reader, and the finder if the reader reads lines."""

    def prove(self) -> None:
        """Check that each model gives the logits of its golden example.

        Raises:
            UserError: one of them does not.
        """
        for name, (recognizer, content) in self.models.items():
            found = compare(self.reader.framework, recognizer, content)
            if not found.same:
                raise UserError(
                    f"the {name} does not give the logits of its golden example in {found.framework}: the largest "
                    f"difference is {found.relative:.1e} of the largest logit; train it again or restore the file"
                )

    @property
    def info(self) -> ModelInfo:
        """What the service says about them."""
        content = self.reader.content
        return ModelInfo(
            identity=self.files.identity,
            rung=content.spec.rung,
            framework=self.reader.framework,
            charset=self.reader.charset,
            parameters=sum(array.size for _, each in self.models.values() for array in each.weights.values()),
            card=self.files.card,
            provenance=content.provenance,
        )


def watched(config: EngineConfig) -> list[Path]:
    """The files whose change means new weights."""
    runs = [run for run in (config.run, config.finder) if run is not None]
    return [weights_path(run) for run in runs] + [prior_path(run) for run in runs]


def _content(path: Path) -> bytes:
    try:
        return check_shipped(path).read_bytes() if path.parent == MODELS else path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}); give a run folder or a weights file") from None
