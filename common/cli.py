"""The `fourhands` command: finds the subcommand, parses its flags, words its errors."""

from __future__ import annotations

import difflib
import errno
import importlib
import logging
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from typing import Any

from common.errors import UserError, unknown_name

# imported on demand, so that `fourhands --help` is fast
COMMANDS = {
    "data list": "common.commands.data:List",
    "data prepare": "common.commands.data:Prepare",
    "data show": "common.commands.data:Show",
    "train": "common.commands.train:Train",
    "evaluate": "common.commands.evaluate:Evaluate",
    "label": "common.commands.label:Label",
    "adapt": "common.commands.adapt:Adapt",
    "read": "common.commands.read:Read",
    "verify": "common.commands.verify:Verify",
    "compare": "common.commands.compare:Compare",
    "serve": "common.commands.serve:Serve",
    "runs list": "common.commands.runs:List",
    "runs show": "common.commands.runs:Show",
    "runs compare": "common.commands.runs:Compare",
    "runs note": "common.commands.runs:NoteDown",
    "runs best": "common.commands.runs:Best",
    "drift": "common.commands.drift:Drift",
}
USER_ERROR, STOPPED = 2, 130
# OpenBLAS reads it while NumPy is imported: waiting threads go to sleep soon. By default they spin. In two processes of
# seven, two spinning threads then shared a core for good, and a training step took 440 ms instead of 250
os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "4")
# errors of the file system that a user can correct, and how
WRITE_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG)
ACCESS_ERRORS = (errno.EACCES, errno.EPERM)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        The exit code: 0; 1 if a check failed; 2 for an error that the user can correct; 130 if it was interrupted.
    """
    if argv is None:
        argv = sys.argv[1:]
        if not sys.warnoptions:  # the warnings of libraries say nothing to a person; `python -W default` shows them
            warnings.simplefilter("ignore")
            logging.getLogger("PIL").setLevel(logging.CRITICAL)  # our own sentence says what is wrong with a file
    argv = list(argv)
    try:
        code = _run(argv)
        sys.stdout.flush()
        return code
    except BrokenPipeError:  # the reader of a pipe has seen enough, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else Python complains again at exit
        return 0
    except UserError as error:
        sentence = " ".join(str(error).split())
    except OSError as error:
        sentence = _file_system_error(error)
    except KeyboardInterrupt:
        hint = "; continue with the same flags and --resume" if argv[0] == "train" else ""
        if argv[0] == "read" and any(argument.partition("=")[0] == "--out" for argument in argv):
            hint = "; the same command continues, and skips what is done"
        print(f"fourhands: stopped{hint}", file=sys.stderr)
        return STOPPED
    print(f"fourhands: error: {sentence}", file=sys.stderr)
    return USER_ERROR


def _file_system_error(error: OSError) -> str:
    what = error.filename or "a file"
    if error.errno in WRITE_ERRORS:
        return f"cannot write {what}: {error.strerror}; free some space or choose another folder"
    if error.errno in ACCESS_ERRORS:
        return f"no access to {what}: {error.strerror}; change its permissions or choose another file or folder"
    raise error


def _run(argv: list[str]) -> int:
    if not argv or argv[0] in ("-h", "--help"):
        print(_help())
        return 0
    name = next((" ".join(argv[:n]) for n in (2, 1) if " ".join(argv[:n]) in COMMANDS), None)
    if name is None:
        group = [known for known in COMMANDS if known.startswith(f"{argv[0]} ")]
        if group and (len(argv) == 1 or argv[1] in ("-h", "--help")):
            print(_help(group))
            return 0
        raise unknown_name("command", " ".join(argv[: 2 if group else 1]), group or COMMANDS)
    arguments = argv[len(name.split()) :]
    command = _parse(name, arguments)
    return 0 if command is None else command()


def _command(name: str) -> Any:
    """The type of a command."""
    module_name, _, attribute = COMMANDS[name].partition(":")
    return getattr(importlib.import_module(module_name), attribute)


def _help(names: Sequence[str] = tuple(COMMANDS)) -> str:
    lines = [f"  {name:<13} {_command(name).__doc__.splitlines()[0]}" for name in names]
    return "\n".join(["usage: fourhands COMMAND ...", "", *lines, "", "`fourhands COMMAND --help` shows its flags."])


def _parse(name: str, arguments: list[str]) -> Callable[[], int] | None:
    """The command with its flags, or None if they asked for help.

    Raises:
        UserError: a flag or a value is wrong.
    """
    import tyro  # a tenth of a second
    from tyro import _errors as tyro_errors  # the one place where tyro tells what is wrong; see pyproject.toml

    from common.commands.flags import REGISTRY, flag_names, refuse_moved

    refuse_moved(arguments)
    command, prog = _command(name), f"fourhands {name}"
    defaults: Any = None
    if name == "train":
        from common.commands.train import defaults_for  # imports all that training needs

        defaults = defaults_for(arguments)
        command = command[type(defaults.spec)]
    known = flag_names(defaults if defaults is not None else command)

    def refuse(event: tyro_errors.ParseErrorEvent) -> None:
        raise UserError(_sentence(event, known, name))

    given = {} if defaults is None else {"default": defaults}
    try:
        with tyro_errors.on_parse_error(refuse):
            parsed: Callable[[], int] = tyro.cli(
                command, prog=prog, args=arguments, config=(tyro.conf.FlagCreatePairsOff,), registry=REGISTRY, **given
            )
    except SystemExit:  # --help; every error is raised by `refuse`
        return None
    return parsed


def _sentence(event: Any, known: Sequence[str], name: str) -> str:
    """What is wrong with the flags, in one sentence."""
    from tyro import _errors as tyro_errors

    see = f"see `fourhands {name} --help`"
    for token in [*getattr(event, "tokens", ()), *getattr(event, "unrecognized_tokens", ())]:
        flag = token.partition("=")[0]
        if flag.startswith("--"):
            nearest = difflib.get_close_matches(flag.replace("_", "-"), known, n=1, cutoff=0.5)
            hint = f"did you mean {nearest[0]}?" if nearest else see
            return f"fourhands {name} has no flag {flag}; {hint}"
    if isinstance(event, tyro_errors.UnrecognizedArgs):
        return f"fourhands {name} does not take {' '.join(event.tokens)!r}; {see}"
    if isinstance(event, tyro_errors.MissingArgs):
        missing = ", ".join(_name(each.arg) for each in event.missing_arguments)
        return f"fourhands {name} needs {missing}; {see}"
    if isinstance(event, tyro_errors.InvalidChoice):
        choices = ", ".join(map(repr, event.choices))
        return f"{event.argument.display_name()} is {event.value!r}; choose one of {choices}"
    if isinstance(event, tyro_errors.BadValue):
        value = f" instead of {event.offending_value!r}" if event.offending_value else ""
        return f"{event.argument.display_name()} needs another value{value}; {see}"
    if isinstance(event, tyro_errors.InstantiationFailure):
        flag = event.argument.display_name() if event.argument else ""
        return event.message if not flag or flag in event.message else f"{flag}: {event.message}"
    return f"the flags of fourhands {name} cannot be used ({type(event).__name__}); {see}"


def _name(argument: Any) -> str:
    """The name of a flag, or the placeholder of a positional argument, as the help shows it."""
    return str(argument.lowered.metavar if argument.is_positional() else argument.display_name())


if __name__ == "__main__":
    sys.exit(main())
