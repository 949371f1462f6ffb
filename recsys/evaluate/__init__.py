"""How good a list of recommendations is, and what it has to beat."""
