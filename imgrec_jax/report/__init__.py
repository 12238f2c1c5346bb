"""What a run looks like: one HTML page, from plain values; no function here sees JAX or a disk."""
