"""Files in: JSON lines, CSV and Parquet, plain or gzip, local or on Azure Blob (`azfs://`), as Arrow batches."""

from __future__ import annotations

import csv
import functools
import glob
import hashlib
import io
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, BinaryIO, cast

import numpy as np
from apache_beam.io.filesystem import CompressionTypes, FileSystem
from apache_beam.io.filesystems import FileSystems
from apache_beam.options.pipeline_options import AzureOptions, PipelineOptions

from transforms.errors import UsageError, UserError
from transforms.io import storage
from transforms.io.blocks import BOM, TruncatedStream, gunzip
from transforms.io.delimited import read_csv, read_header
from transforms.io.json_documents import document
from transforms.io.jsonl import read_json_lines, read_keys
from transforms.io.parquet import open_parquet, read_parquet, row_groups
from transforms.io.source import Format, Naming, Parsed, SourceFile, Split

__all__ = ["Parsed", "SourceFile", "Split", "discover", "header", "header_line", "keys", "read_split", "split"]

SPLIT_BYTES = 32 << 20
_FORMATS: Mapping[str, Format] = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".csv": "csv",
    ".tsv": "csv",
    ".txt": "csv",
    ".parquet": "parquet",
    ".pq": "parquet",
}


def discover(location: str, format: str | None = None) -> list[SourceFile]:
    """The files of a file name, a folder (with its subfolders) or a glob, by path.

    The fingerprint of a local file is a hash of its content; of a blob, of its entity tag, which Azure sets anew with
    every write. Files and folders whose names begin with "." or "_" are passed over, unless named as they are.

    Raises:
      UserError: nothing is there, or a file's format cannot be told by its name and is not given.
    """
    if format is not None and format not in _FORMATS.values():
        raise UsageError(f"{format!r} is no format", where=location, remedy="use jsonl, csv or parquet")
    found = _blobs(location) if "://" in location else _local(location)
    if not found:
        raise UserError(
            "there are no files", where=location, remedy="check the path; a folder, a file or a glob will do"
        )
    return [_source_file(path, size, mark, format) for path, size, mark in sorted(found)]


def _local(location: str) -> list[tuple[str, int, str]]:
    location = os.path.abspath(location)  # one file, one name, however it is spelt
    if os.path.isfile(location):
        shown = [location]
    elif os.path.isdir(location):
        paths = (os.path.join(folder, name) for folder, _, names in os.walk(location) for name in names)
        shown = [path for path in paths if os.path.isfile(path) and not _hidden(os.path.relpath(path, location))]
    else:
        shown = [
            path
            for path in glob.glob(location, recursive=True)
            if os.path.isfile(path) and not _hidden(os.path.basename(path))
        ]
        if not shown and not glob.has_magic(location):
            raise UserError("there is no such file or folder", where=location, remedy="check the path")
    try:
        return [(path, os.path.getsize(path), _content_hash(path)) for path in shown]
    except PermissionError as error:
        raise UserError("no permission to read", where=str(error.filename), remedy="ask for read access") from None


def _hidden(relative: str) -> bool:
    return any(part.startswith((".", "_")) for part in re.split(r"[/\\]", relative))


def _content_hash(path: str) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def _blobs(location: str) -> list[tuple[str, int, str]]:
    folder = location.rstrip("/")
    globbed = glob.has_magic(location)
    below = "**" if folder.count("/") > 3 else "/**"  # azfs://account/container is no prefix of its blobs' names
    try:  # Beam lists by prefix, so that a folder's sisters ("in" and "in2") come too
        store = _store(location)
        matched = store.match([location if globbed else folder + below])[0].metadata_list
        inside = [m for m in matched if globbed or m.path == folder or m.path.startswith(folder + "/")]
        shown = [
            m
            for m in inside
            if not m.path.endswith("/") and (m.path == location or not _hidden(_below(m.path, folder)))
        ]
        return [(m.path, m.size_in_bytes, _tag_hash(store, m.path, m.size_in_bytes)) for m in shown]
    except UserError:
        raise
    except Exception as error:  # each cloud client has errors of its own
        raise UserError(
            f"cannot list ({type(error).__name__})",
            where=location,
            remedy="check the address and AZURE_STORAGE_CONNECTION_STRING",
        ) from error


def _below(path: str, folder: str) -> str:
    """The part of a blob's name that says whether it is hidden: below the folder, or the last part for a glob."""
    return path[len(folder) + 1 :] if path.startswith(folder + "/") else path.rsplit("/", 1)[-1]


def _tag_hash(store: FileSystem, path: str, size: int) -> str:
    return hashlib.blake2b(f"{size}/{store.checksum(path)}".encode(), digest_size=16).hexdigest()


def _store(path: str) -> FileSystem:
    """Beam's file system for the path; on Azure with the credentials of the `AZURE_STORAGE_*` environment.

    Beam's own takes credentials from the options of a pipeline, and there may be none yet.
    """
    found = FileSystems.get_filesystem(path)
    options = found._pipeline_options or PipelineOptions([])
    if not storage.is_azure(path) or os.environ.get("AZURE_STORAGE_CONNECTION_STRING"):
        return type(found)(options)
    given = options.view_as(AzureOptions)
    if given.azure_connection_string or given.blob_service_endpoint:
        return type(found)(options)
    return type(found)(PipelineOptions([], azure_connection_string=_connection_string(path)))


def _connection_string(path: str) -> str:
    """What the environment tells of the account, as Azure's client wants it.

    Raises:
      UserError: no key and no shared access signature is set.
    """
    options = storage.storage_options(path) or {}
    account = options.get("azure_storage_account_name", "")
    secrets = {"AccountKey": "azure_storage_account_key", "SharedAccessSignature": "azure_storage_sas_key"}
    told = [f"{name}={options[key]}" for name, key in secrets.items() if key in options]
    if not told:
        raise UserError(
            "reading blobs needs a key or a shared access signature",
            where=path,
            remedy="set AZURE_STORAGE_CONNECTION_STRING, or give --blob_service_endpoint",
        )
    endpoint = options.get("azure_endpoint", f"https://{account}.blob.core.windows.net")
    return ";".join([f"AccountName={account}", f"BlobEndpoint={endpoint}", *told])


def _source_file(path: str, size: int, mark: str, format: str | None) -> SourceFile:
    name = path.lower()
    gzipped = name.endswith((".gz", ".gzip"))
    if gzipped:
        name = name.rsplit(".", 1)[0]
        gzipped = not _is_plain_text(path)
    kind = format or _FORMATS.get(os.path.splitext(name)[1])
    if kind is None:
        if name.endswith((".xlsx", ".xls", ".ods")):
            raise UserError("workbooks are not read", where=path, remedy="save the sheet as CSV UTF-8")
        raise UserError(
            "cannot tell the file's format by its name",
            where=path,
            remedy="give --format jsonl, csv or parquet, or name the files alone, like 'folder/*.csv'",
        )
    return SourceFile(path, size, mark, cast(Format, kind), "gzip" if gzipped else "none")


def _is_plain_text(path: str) -> bool:
    """Whether a local file is text in spite of its name: a download that was unpacked on the way."""
    if "://" in path:
        return False
    with open(path, "rb") as file:
        head = file.read(64)
    return bool(head) and head.isascii() and all(byte >= 32 or byte in b"\t\r\n" for byte in head)


def split(file: SourceFile, target_bytes: int = SPLIT_BYTES) -> list[Split]:
    """Parts that can be read in parallel: byte ranges of plain JSON lines, row groups of Parquet, else the whole."""
    if file.format == "parquet":
        with _open(file) as source:
            sizes = row_groups(source, file.compression)
        edges = [0]
        for group, size in enumerate(np.cumsum(sizes).tolist(), start=1):
            if size >= len(edges) * target_bytes or group == len(sizes):
                edges.append(group)
        return [Split(file, a, b, len(edges) - 1) for a, b in pairwise(edges)] or [Split(file, 0, 1)]
    if file.format == "csv" or file.compression == "gzip":
        return [Split(file, 0, file.size)]
    with _open(file) as source:
        if document(source, file) is not None:  # one JSON document
            return [Split(file, 0, file.size)]
    starts = range(0, max(file.size, 1), target_bytes)
    return [Split(file, at, min(at + target_bytes, file.size), len(starts)) for at in starts]


def header(file: SourceFile) -> Any:
    """Column names of a CSV file and keys of a JSON file's first lines (list of str), schema of a Parquet file.

    None for what is no Parquet; an empty list for a file without a readable line.
    """
    with _open(file) as source:
        if file.format == "jsonl":
            return read_keys(source, file)
        if file.format == "csv":
            return _csv_header(file, source)[0]
        parquet = open_parquet(source, file.compression)
        return parquet.schema_arrow if parquet else None


@functools.lru_cache(maxsize=64)
def keys(file: SourceFile, records: int = 1000) -> list[str]:
    """The keys of the first records of a JSON lines file, as they are met; what is no record is passed over."""
    found: dict[str, None] = {}
    with _open(file) as source:
        try:
            data = next(gunzip(source), b"") if file.compression == "gzip" else source.read(4 << 20)
        except TruncatedStream:
            return []
    for line in data.removeprefix(BOM).split(b"\n")[:records]:
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(record, dict):
            found.update(dict.fromkeys(record))
    return list(found)


def header_line(file: SourceFile) -> str:
    """The header of a CSV file, whatever its line ends and quotes, as one line in its own delimiter."""
    with _open(file) as source:
        names, delimiter, _ = _csv_header(file, source)
    line = io.StringIO()
    csv.writer(line, delimiter=delimiter.decode(), lineterminator="").writerow(names)
    return line.getvalue()


def _csv_header(file: SourceFile, source: BinaryIO) -> tuple[list[str], bytes, int]:
    try:
        return read_header(source, file.compression)
    except UserError as error:
        raise UserError(error.what, where=file.path, remedy=error.remedy) from None


def read_split(
    part: Split, known: Sequence[str], batch_rows: int = 65_536, only: Sequence[str] | None = None
) -> Iterator[Parsed]:
    """Reads one part of a file.

    Args:
      known: the columns that are expected; names match whatever their case, spaces and dashes, or as the file's
        `renames` say.
      only: the source columns that are wanted; others of a Parquet file are not read.

    Gives batches whose `rows` have one column each source column (text, or typed from Parquet), `_position` int64
    (the record's first byte in the uncompressed file, or the row number in Parquet) and `_raw` binary (the record's
    bytes; null for Parquet). Every record is in `rows` or in `rejects`, once, whatever the bytes.
    """
    renames = dict(part.file.renames)
    naming = Naming(known, renames)
    with _open(part.file) as file:
        if part.file.format == "parquet":
            yield from read_parquet(file, part, naming, batch_rows, only)
        elif part.file.format == "csv":
            yield from _sliced(read_csv(file, part, naming), batch_rows)
        else:
            targets = set(renames.values())
            keys = (*renames, *(name for name in known if name not in targets))
            yield from _sliced(read_json_lines(file, part, naming, keys), batch_rows)


def _sliced(parsed: Iterator[Parsed], batch_rows: int) -> Iterator[Parsed]:
    for one in parsed:
        yield Parsed(one.rows.slice(0, batch_rows), one.rejects)
        for at in range(batch_rows, one.rows.num_rows, batch_rows):
            yield Parsed(one.rows.slice(at, batch_rows), one.rejects.slice(0, 0))


def _open(file: SourceFile) -> BinaryIO:
    """The file's stored bytes; readers uncompress by themselves, since they must survive a cut stream."""
    if "://" not in file.path:
        try:
            return open(file.path, "rb")
        except (FileNotFoundError, PermissionError) as error:
            raise UserError(f"cannot be read any more ({error.strerror})", where=file.path) from None
    return cast(BinaryIO, _store(file.path).open(file.path, compression_type=CompressionTypes.UNCOMPRESSED))
