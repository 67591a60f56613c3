"""Clocks: one timeline from many, with an uncertainty."""
