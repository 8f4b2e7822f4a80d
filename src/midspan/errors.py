"""The one exception type that midspan raises for what a user can mend."""


class MidspanError(ValueError):
    """Bad input: the message is one line that names the field and the fix.

    The command line prints the message without a traceback and exits with status 2.
    """
