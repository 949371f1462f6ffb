"""What a model is trained on: point-in-time examples; the TF Transform graph has its place here."""
