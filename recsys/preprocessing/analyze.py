"""TF Transform run in Beam over Arrow batches: learns the vocabularies, means and quantiles, and writes the graph."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from typing import Any

import apache_beam as beam
import pyarrow as pa

from recsys.preprocessing.columns import LISTED, as_lists
from recsys.preprocessing.graph import GraphSpec, preprocessing_fn, raw_spec

import tensorflow_transform.beam as tft_beam  # isort: skip  # after the environment is set
from tensorflow_transform.tf_metadata import schema_utils  # isort: skip
from tfx_bsl.public import tfxio  # isort: skip
from tfx_bsl.tfxio import tensor_representation_util  # isort: skip


@dataclass(eq=False)
class LearnTransform(beam.PTransform):
    """PCollection[pa.RecordBatch] with the columns of RAW -> transform function, written to `path` (TFTransformOutput).

    Memory: vocabularies. Errors: a batch without a column of RAW raises.
    """

    path: str
    spec: GraphSpec = field(default_factory=GraphSpec)

    def expand(self, batches: beam.PCollection) -> beam.PCollection:
        with tft_beam.Context(temp_dir=tempfile.mkdtemp(), force_tf_compat_v1=False):
            listed = batches | "AsLists" >> beam.Map(as_lists).with_output_types(pa.RecordBatch)
            learnt = (listed, adapter()) | "Learn" >> tft_beam.AnalyzeDataset(preprocessing_fn(self.spec))
            return learnt | "Write" >> tft_beam.WriteTransformFn(self.path)


@dataclass(eq=False)
class ApplyTransform(beam.PTransform):
    """PCollection[pa.RecordBatch] with the columns of RAW -> the same rows transformed, as RecordBatches of lists."""

    path: str

    def expand(self, batches: beam.PCollection) -> beam.PCollection:
        root = batches.pipeline
        with tft_beam.Context(temp_dir=tempfile.mkdtemp(), force_tf_compat_v1=False):
            learnt = root | "Read" >> tft_beam.ReadTransformFn(self.path)
            listed = batches | "AsLists" >> beam.Map(as_lists).with_output_types(pa.RecordBatch)
            rows, _ = ((listed, adapter()), learnt) | "Apply" >> tft_beam.TransformDataset(output_record_batches=True)
            return rows | "Batches" >> beam.Map(lambda pair: pair[0]).with_output_types(pa.RecordBatch)


def adapter() -> Any:
    """How TF Transform reads batches of LISTED."""
    schema = schema_utils.schema_from_feature_spec(raw_spec())
    shapes = tensor_representation_util.InferTensorRepresentationsFromSchema(schema)
    return tfxio.TensorAdapterConfig(LISTED, shapes)
