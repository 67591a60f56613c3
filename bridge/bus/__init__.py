"""The bus between adapters and hub: frames, their codec, and the sockets' protocol."""
