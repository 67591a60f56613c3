"""`make bench`: figures beside a named peer, measured in one run on one machine. Nothing here asserts a time."""
