"""Settings of every test."""

import os

from hypothesis import HealthCheck, settings

# A busy machine is no failure: no deadline. HYPOTHESIS_PROFILE=thorough looks ten times longer.
settings.register_profile("default", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("thorough", parent=settings.get_profile("default"), max_examples=1000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))
