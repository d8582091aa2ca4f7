"""Texts on disk: one file, many, folders of them, or a column of tables."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from ..errors import Error
from .reading import Report, kind, read_blocks, read_lines
from .table import iterate_columns
from .tagged import iterate_sentences

TEXTS = (".txt", ".md", ".text")
TABLES = (".tsv", ".csv", ".jsonl")
TAGGED = ".conllu"
_SAMPLE = 1 << 16


def read_text(path: str | Path, report: Report | None = None) -> str:
    """The text of a UTF-8 file, or of one packed with gzip; a byte order mark at its beginning is left out.

    report: called with the bytes read so far and all there are.

    Raises Error if the file cannot be read, is empty, or is not text.
    """
    text = "".join(read_blocks(path, report))
    if not text:
        raise Error(f"{path} is empty; wanted a file with text")
    return text


class Corpus:
    """Texts that need not fit into memory, in the order of their paths.

    paths: a file or folder, or several. Of a folder the files below it that are texts by their ending
        (.txt, .md, .text; with a column .tsv, .csv, .jsonl; .conllu; each with .gz or without), in the
        order of their names. Any file that is named itself is read: a table where `column` is given,
        sentences where it ends in .conllu, else a text.
    column: the name, or the number from 1, of the column of tables that holds the texts.

    A text's sentences are its lines, each with its line feed; a table's are the cells of the column, and
    those of CoNLL-U its words with a space between, each with a line feed after it.

    Raises Error if there is no file.
    """

    def __init__(self, paths: str | Path | Sequence[str | Path], *, column: str | None = None) -> None:
        several = [paths] if isinstance(paths, (str, Path)) else list(paths)
        self.column = column
        self.files: tuple[Path, ...] = tuple(file for path in several for file in self._below(Path(path)))
        self.name = ", ".join(map(str, several[:3])) + (", …" if len(several) > 3 else "")
        if not several:
            raise Error("Corpus: no paths; wanted at least one file or folder")

    def __str__(self) -> str:
        return self.name

    def fingerprint(self) -> str:
        """Changes when a file does: of each file's kind, size, time of change, beginning and end, in order.

        Not of the whole content, which would take as long as reading it; nor of the names.
        """
        total = hashlib.sha256(repr(self.column).encode())
        for file in self.files:
            try:
                with file.open("rb") as opened:
                    stat = os.fstat(opened.fileno())
                    begin = opened.read(_SAMPLE)
                    opened.seek(max(0, stat.st_size - _SAMPLE))
                    end = opened.read(_SAMPLE)
            except OSError as error:
                raise Error(f"cannot read {file}: {error.strerror or error}; wanted a text file") from error
            total.update(f"{kind(file)} {file.suffix} {stat.st_size} {stat.st_mtime_ns} ".encode())
            total.update(begin + end)
        return total.hexdigest()

    def texts(self, report: Report | None = None) -> Iterator[Iterator[str]]:
        """Each file's text in blocks; the one before must be read to its end first.

        report: called with the bytes read so far, of all files (packed, of a .gz), and all there are.
        """
        return self._each(self._blocks, report)

    def sentences(self, report: Report | None = None) -> Iterator[str]:
        """The sentences of all files, one by one."""
        for sentences in self._each(self._sentences, report):
            yield from sentences

    def _below(self, path: Path) -> list[Path]:
        if not path.is_dir():
            if not path.exists():
                raise Error(f"cannot read {path}: No such file or directory; wanted a text file")
            return [path]
        endings = (*(TEXTS if self.column is None else TABLES), TAGGED)
        found = sorted(p for p in path.rglob("*") if kind(p) in endings and p.is_file())
        visible = [p for p in found if not any(part.startswith(".") for part in p.relative_to(path).parts)]
        if not visible:
            raise Error(f"{path}: no file here ends in {', '.join(endings)} (or these with .gz)")
        return visible

    def _each(
        self, read: Callable[[Path, Report | None], Iterator[str]], report: Report | None
    ) -> Iterator[Iterator[str]]:
        total = sum(file.stat().st_size for file in self.files)
        before = 0
        for file in self.files:
            inner = None if report is None else _after(report, before, total)
            yield read(file, inner)
            before += file.stat().st_size

    def _blocks(self, file: Path, report: Report | None) -> Iterator[str]:
        if self.column is None and kind(file) != TAGGED:
            return read_blocks(file, report)
        return self._sentences(file, report)

    def _sentences(self, file: Path, report: Report | None) -> Iterator[str]:
        if kind(file) == TAGGED:
            return (" ".join(sentence.words) + "\n" for sentence in iterate_sentences(file, report=report))
        if self.column is None:
            return read_lines(file, report)
        return (cell + "\n" for (cell,) in iterate_columns(file, [self.column], report))


def _after(report: Report, before: int, total: int) -> Report:
    return lambda done, size: report(before + done, total)
