"""Notes about a run: notes.jsonl in its folder, one dated note per line."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from common.errors import UserError

NOTES = "notes.jsonl"


@dataclass(frozen=True, kw_only=True)
class Note:
    """One note."""

    time: str
    """When it was written: ISO 8601, UTC."""
    text: str


def read_notes(folder: Path) -> list[Note]:
    """The notes of a run, the oldest first. A line that was cut off is left out."""
    try:
        lines = (folder / NOTES).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    notes = []
    for line in lines:
        try:
            row = json.loads(line)
            notes.append(Note(time=str(row["time"]), text=str(row["text"])))
        except (ValueError, TypeError, KeyError):
            continue
    return notes


def add_note(folder: Path, text: str) -> Note:
    """Append a note to a run.

    The line is written with a single call to a file opened for appending, so two notes written at once are both kept.

    Raises:
        UserError: the text is blank, or the file cannot be written.
    """
    text = text.strip()
    if not text:
        raise UserError('the note is empty; give a text, such as: fourhands runs note RUN "wider stem"')
    note = Note(time=datetime.now(UTC).isoformat(timespec="seconds"), text=text)
    path = folder / NOTES
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            size = os.fstat(descriptor).st_size
            # a line that was cut off has no line feed; the note must not become a part of it
            cut_off = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
            row = json.dumps({"time": note.time, "text": note.text}, ensure_ascii=False)
            line = ("\n" * cut_off + row + "\n").encode("utf-8", "replace")
            if os.write(descriptor, line) != len(line):
                raise OSError("the disk is full")
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}; free some space or change its mode") from None
    return note
