"""Adapters: one module or package for each kind of source. They import `bridge` and never one another."""
