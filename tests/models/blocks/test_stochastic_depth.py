import pytest

from imgrec_jax.models.blocks.stochastic_depth import rising_rates


def test_rates_rise_from_0_to_the_last_in_equal_steps():
    """Huang et al. 2016, section 3, with 0 for the first block."""
    assert rising_rates(0.3, 4) == pytest.approx([0.0, 0.1, 0.2, 0.3])
    assert rising_rates(0.3, 1) == [0.0]
