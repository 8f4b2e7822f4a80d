"""The command line. Commands live in ``midspan.commands``; nothing heavy is imported here."""

import os
import sys

# Before transformers is imported: its advice and progress bars drown our own lines.
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


def main() -> None:
    """Run the command line; bad input ends in one line on standard error and status 2."""
    from midspan.commands import app
    from midspan.errors import MidspanError
    from midspan.files import is_refused_by_disk, refusal

    try:
        app()
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
