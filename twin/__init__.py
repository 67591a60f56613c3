"""The twin: a simulated cell that makes the same task events as the testbed and the field, and explains its failures."""
