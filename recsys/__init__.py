"""Room for recommendations: TF Transform, TFRS retrieval and ranking, serving."""
