"""HTML report of a run, made from plain values: nothing here uses JAX or reads or writes files."""
