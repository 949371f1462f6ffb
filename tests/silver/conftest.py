"""No deadline for an example, since the machine may be busy; tables of twenty columns make 50 of them plenty."""

from hypothesis import settings

settings.register_profile("silver", deadline=None, max_examples=50)
settings.load_profile("silver")
