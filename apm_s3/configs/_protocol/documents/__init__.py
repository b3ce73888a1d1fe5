"""The documents of a store: their keys, their fields, the log, and checks of their identity. Pure."""
