"""The learnt chain as one SavedModel: request, history, sources, merge, ranking, business rules, items with reasons."""
