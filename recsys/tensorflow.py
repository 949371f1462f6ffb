"""TensorFlow as TFRS needs it: Keras 2, quiet; the one place that sets its environment before the import."""

from __future__ import annotations

import os

os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import tensorflow as tf
import tensorflow_recommenders as tfrs

keras = tf.keras

__all__ = ["keras", "tf", "tfrs"]
