"""The subcommands of `fourhands`.

Each is a frozen dataclass. Its fields are the flags. Calling it does the work, through the public API, and returns the
exit code.
"""
