"""dari's core: the schema, the clock, the rules, the bus, the hub and the command line.

Imports none of `adapters`, `twin` and `recorder`; finds them by entry points.
"""

__version__ = "0.1.0"
