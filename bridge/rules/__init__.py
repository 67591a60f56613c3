"""Rules: signals to task events."""
