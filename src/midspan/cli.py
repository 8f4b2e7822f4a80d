"""The command line. Commands live in ``midspan.commands``; nothing heavy is imported here."""

import gc
import logging
import os
import sys

# Before transformers is imported: its advice and progress bars drown our own lines.
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
# It tells whoever imports peft, each process of a study too, of a kernel to install.
logging.getLogger("bitsandbytes").setLevel(logging.ERROR)

# Objects made before the collector looks for garbage. Imports make millions that stay: at Python's
# 700, looking through them again and again is a tenth of a command's start.
_COLLECT_AFTER = 50_000
# Set by a shell's completion, as typer writes it.
COMPLETE = "_MIDSPAN_COMPLETE"


def main() -> None:
    """Run the command line; bad input ends in one line on standard error and status 2."""
    gc.set_threshold(_COLLECT_AFTER)
    from midspan.commands import app_for
    from midspan.errors import MidspanError
    from midspan.files import is_refused_by_disk, refusal

    if sys.argv[1:2] == ["help"]:
        sys.argv[1:] = [*sys.argv[2:], "--help"]
    try:
        if os.environ.get(COMPLETE):
            from midspan.commands.completion import complete

            complete(app_for)
        app_for(sys.argv[1:])()
    except MidspanError as error:
        print(f"midspan: {error}", file=sys.stderr)
        sys.exit(2)
    except OSError as error:
        if not is_refused_by_disk(error):
            raise
        print(
            f"midspan: {refusal('cannot use', error.filename or 'a file', error)}", file=sys.stderr
        )
        sys.exit(2)
    except KeyboardInterrupt:
        from midspan.commands.ends import STOPPED, stopped_line

        print(stopped_line(), file=sys.stderr)
        sys.exit(STOPPED)


if __name__ == "__main__":
    main()
