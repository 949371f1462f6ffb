"""Recommendations: point-in-time examples, candidate sources, retrieval, ranking, evaluation (export and serving next).

TensorFlow is imported only by the rooms that train or serve a model: retrieval, ranking, and later export and serve.
"""
