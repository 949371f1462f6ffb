"""Lists for everyone by a written model: a kernel over Arrow batches, and Beam around it."""
