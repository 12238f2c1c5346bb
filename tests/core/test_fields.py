"""Fields by kind, whatever their prefix."""

import pytest

from imgrec_jax.core import fields


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("image", fields.PIXELS),
        ("partner_image", fields.PIXELS),
        ("view12_target_image", fields.PIXELS),
        ("view2_box_ignore", fields.BOX_FLAG),
        ("episode_label", ""),
        ("view_image", ""),
        ("images", ""),
    ],
)
def test_the_kind_of_a_field(name, kind):
    assert fields.kind_of(name) == kind


def test_fields_of_a_kind_and_of_a_prefix():
    batch = {"image": 0, "partner_image": 1, "view2_image": 2, "partner_label": 3, "mask": 4}
    assert fields.of_kind(batch, fields.PIXELS) == {
        "image": 0,
        "partner_image": 1,
        "view2_image": 2,
    }
    assert fields.sample(batch, "partner_") == {"image": 1, "label": 3}
    assert fields.sample(batch, fields.view_prefix(2)) == {"image": 2}
    assert fields.sample(batch, fields.view_prefix(1)) == {"image": 0, "mask": 4}
