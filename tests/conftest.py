"""What every test may ask for."""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(
    "default", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("long", parent=settings.get_profile("default"), max_examples=3000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture
def data():
    """The folder of real texts that lies beside a developer's checkout; without it the test is skipped."""
    if not DATA.is_dir():
        pytest.skip("no data: the folder ../shared/data is not there")
    return DATA
