"""The bridge's own commands, one module each; each module holds a `command` (see `bridge.commands.base.Command`)."""
