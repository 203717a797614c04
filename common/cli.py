"""The `fourhands` command: finds the subcommand, makes its flags, words its errors."""

from __future__ import annotations

import contextlib
import difflib
import errno
import importlib
import io
import os
import re
import sys
from collections.abc import Callable, Sequence
from typing import Any

from common.errors import UserError, unknown_name

# imported when they are called for, so that `fourhands --help` does not wait
COMMANDS = {
    "data list": "common.commands.data:List",
    "data prepare": "common.commands.data:Prepare",
    "data show": "common.commands.data:Show",
    "train": "common.commands.train:Train",
    "evaluate": "common.commands.evaluate:Evaluate",
    "read": "common.commands.read:Read",
    "verify": "common.commands.verify:Verify",
    "compare": "common.commands.compare:Compare",
}
USER_ERROR, STOPPED = 2, 130
# OpenBLAS reads it while NumPy is imported: its threads are to sleep soon when they wait. When they spin, as is their
# default, in two processes of seven they shared a core for good, and a training step took 440 ms instead of 250
os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "4")
# what the surroundings of a run can do to its files
OUTSIDE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG, errno.EACCES, errno.EPERM)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and give its exit code: 0, 1 where a check says no, 2 for an error the user can put right."""
    argv = list(sys.argv[1:] if argv is None else argv)
    try:
        code = _run(argv)
        sys.stdout.flush()
        return code
    except BrokenPipeError:  # the reader of a pipe has seen enough, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else Python complains once more at exit
        return 0
    except UserError as error:
        sentence = " ".join(str(error).split())
    except OSError as error:
        if error.errno not in OUTSIDE:
            raise
        what = error.filename or "a file"
        sentence = f"cannot write {what}: {error.strerror}; free some space or choose another folder"
    except KeyboardInterrupt:
        hint = "; go on with the same flags and --resume" if argv[0] == "train" else ""
        print(f"fourhands: stopped{hint}", file=sys.stderr)
        return STOPPED
    print(f"fourhands: error: {sentence}", file=sys.stderr)
    return USER_ERROR


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
    command = _parse(_command(name, arguments), name, arguments)
    if command is None:
        return 0
    return command()


def _command(name: str, arguments: list[str]) -> Any:
    """The dataclass of a command."""
    module_name, _, attribute = COMMANDS[name].partition(":")
    module = importlib.import_module(module_name)
    return module.with_spec(arguments) if name == "train" else getattr(module, attribute)


def _help(names: Sequence[str] = tuple(COMMANDS)) -> str:
    lines = [f"  {name:<13} {_command(name, []).__doc__.splitlines()[0]}" for name in names]
    return "\n".join(["usage: fourhands COMMAND ...", "", *lines, "", "`fourhands COMMAND --help` shows its flags."])


def _parse(command: Any, name: str, arguments: list[str]) -> Callable[[], int] | None:
    """The command with its flags, or None if they asked for help.

    Raises:
        UserError: the flags are not right.
    """
    import tyro  # a tenth of a second

    prog, config = f"fourhands {name}", (tyro.conf.FlagCreatePairsOff,)
    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint):
            parsed: Callable[[], int] = tyro.cli(command, prog=prog, args=arguments, config=config)
    except SystemExit as stop:
        if not stop.code:
            return None
        shown = io.StringIO()
        with contextlib.redirect_stdout(shown), contextlib.suppress(SystemExit):
            tyro.cli(command, prog=prog, args=["--help"], config=config)
        _check_flags(arguments, re.findall(r"--[\w.-]+", shown.getvalue()), name)
        raise UserError(f"{_sentence(complaint.getvalue())}; see `{prog} --help`") from None
    return parsed


def _check_flags(arguments: list[str], known: list[str], name: str) -> None:
    for argument in arguments:
        flag = argument.partition("=")[0]
        if re.match(r"--\w", flag) and flag.replace("_", "-") not in known:
            nearest = difflib.get_close_matches(flag, known, n=1, cutoff=0.5)
            hint = f"did you mean {nearest[0]}?" if nearest else f"`fourhands {name} --help` shows what there is"
            raise UserError(f"fourhands {name} has no flag {flag}; {hint}")


def _sentence(box: str) -> str:
    """What tyro draws as a box with a title and rules, as one line: the part above the first rule."""
    rows = [row.strip("╭╮╰╯│─ ") for row in box.splitlines()]
    title, body = rows[0], rows[1:]
    body = body[: body.index("")] if "" in body else body
    text = " ".join(body)
    # "Error parsing train: train.epochs is 0": our own checks name their field already
    return re.sub(r"^Error parsing \w+: ", "", text) if title == "Value error" else f"{title}: {text}"


if __name__ == "__main__":
    sys.exit(main())
