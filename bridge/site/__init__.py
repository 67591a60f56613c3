"""The site file: what is connected, typed and strict. `load(path)` reads one.

The module `bridge.site.load` and the function have one name; from here, `bridge.site.load` is the function.
"""

from bridge.site.load import Examination, LoadedSite, ResolvedSink, ResolvedSource, examine, load, load_text
from bridge.site.problem import SiteProblem
from bridge.site.secret import Secret

__all__ = [
    "Examination",
    "LoadedSite",
    "ResolvedSink",
    "ResolvedSource",
    "Secret",
    "SiteProblem",
    "examine",
    "load",
    "load_text",
]
