"""Event Hubs Capture in, for backfill: what the stream would have read, from the files it was captured in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import apache_beam as beam

from transforms.batches import register_batch_coder
from transforms.io.capture_files import DEFAULT_LAYOUT, find_files, is_capture, read_file
from transforms.positions import Piece

__all__ = ["DEFAULT_LAYOUT", "ReadCapture", "find_files", "is_capture"]


@dataclass(eq=False)
class ReadCapture(beam.PTransform):
    """Reads a folder of Capture's Avro files: PBegin -> PCollection[Piece], rows of schema EVENTS; bounded.

    One piece a file, or several that follow each other for a large one; in no order between files. The sequence
    numbers are the hub's, so that bronze takes each event once, whether it came by the stream or by Capture.

    Args:
      url: see `find_files`; also `layout`.
      hubs: the hubs wanted; none means all.
      start: the first wanted sequence number of a log ("<hub>/<partition>"); None takes everything.

    Raises:
      UserError (on the worker): nothing is there, or a file is damaged.
    """

    url: str
    hubs: tuple[str, ...] = ()
    start: Callable[[str], int] | None = None
    layout: str = DEFAULT_LAYOUT

    def expand(self, root: beam.pvalue.PBegin) -> beam.PCollection:
        register_batch_coder()
        url, hubs, layout, start = self.url, self.hubs, self.layout, self.start
        return (
            root
            | "Folder" >> beam.Create([url])
            | "FindFiles" >> beam.FlatMap(lambda _: find_files(url, hubs, layout))
            | "SpreadFiles" >> beam.Reshuffle()
            | "ReadFiles"
            >> beam.FlatMap(lambda file: read_file(file, start(file.log) if start else 0)).with_output_types(Piece)
        )
