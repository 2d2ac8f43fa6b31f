"""The two ways in which serving ends."""


class ServeError(Exception):
    """The server cannot start or go on; the message is one line that says what to do."""


class Stop(BaseException):
    """A signal asked for the end; carries its number. Not an Exception, so that no handler swallows it."""
