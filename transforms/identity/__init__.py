"""Which records are one person: standardise, block, compare, learn, score; then cluster, survive, stitch.

Edges come from `score.score_pairs(records, IdentityRules())`: `records` has a `record_key` and any of `fields.FIELDS`.
"""
