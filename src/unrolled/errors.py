"""What a caller got wrong, said so that it can be mended."""


class Error(ValueError, RuntimeError):
    """A wrong argument, file or setting; the message says what was got, what was wanted, what to do.

    It is both a ValueError and a RuntimeError because torch.nn raises one or the other for the same
    mistakes, and a program that catches either must go on working after the swap.
    """


class EngineWarning(UserWarning):
    """A scan went to a slower engine than the fastest one there is; said once for each reason."""
