"""The subcommands of `fourhands`.

Each is a frozen dataclass: its fields are the flags, and calling it does the work and gives the exit code.
"""
