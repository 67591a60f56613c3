"""The site file: what is connected, typed and strict."""
