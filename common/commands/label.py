"""The command `fourhands label`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from common.commands.serve import check_installed
from common.data.images import MAX_PIXELS
from common.reading.page import MAX_LINES
from common.serving.config import ServeConfig

_SECONDS = 600.0  # one person waits for one page, and may have a slow machine


@dataclass(frozen=True, kw_only=True)
class Label:
    """Correct, in a browser, what the reader proposes for the pictures of a folder."""

    folder: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="FOLDER")]
    """The folder with the pictures; it may have subfolders. The lines of each picture are kept beside it as ALTO."""
    run: Annotated[Path | None, tyro.conf.arg(metavar="RUN")] = None
    """The run folder or weights file that proposes the texts; by default the reader that ships."""
    framework: Annotated[str, tyro.conf.arg(metavar="NAME")] = "numpy"
    """The framework that computes."""
    port: int = 8000
    """Port of the page, which only this machine can reach; 0 takes a free one."""

    def __call__(self) -> int:
        """Serve the page until Ctrl+C."""
        check_installed()
        from common.serving.labels import Labels
        from common.serving.service import serve

        config = ServeConfig(
            run=self.run,
            framework=self.framework,
            port=self.port,
            workers=1,
            seconds=_SECONDS,
            max_pixels=MAX_PIXELS,
            max_lines=MAX_LINES,
        )
        labels = Labels.open(self.folder)
        for sentence in labels.left_out:
            print(sentence)
        done = sum(row["state"] == "corrected" for row in labels.listing())
        print(f"{self.folder}: {len(labels):,} pictures, {done:,} of them corrected")
        print(f"open http://localhost:{self.port} in a browser; Ctrl+C ends", flush=True)
        return serve(config, labels=labels)
