"""Monitoring: a window over what was read, its comparison with a profile, alarms, and the page that shows them."""
