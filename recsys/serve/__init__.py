"""The API of TensorFlow Serving in process: gRPC and REST, versions swapped while they are asked, batches, metrics."""
