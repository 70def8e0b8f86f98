"""What lowbit raises: everything is an :class:`Error`, and one of Python's own kinds as well.

Two things are Python's alone. OSError is for a file that cannot be read or written. TypeError is for a call that cannot be made: arguments
that a function does not have, something else in the place of an object that lowbit made (a sequence, weights), and, as scikit-learn has
it, sparse data and objects in the place of points. Any other value that does not fit is an :class:`InputError`.
"""

from __future__ import annotations

__all__ = [
    "DeviceError",
    "Error",
    "Fault",
    "FileError",
    "InputError",
    "Interrupted",
    "NotFiniteError",
    "NotFittedError",
    "OutOfMemoryError",
    "UnsupportedError",
]


class Error(Exception):
    """Any error of lowbit's."""


class InputError(Error, ValueError):
    """A value, a shape or an option that does not fit."""


class NotFiniteError(InputError):
    """NaN or infinity where there have to be numbers."""


class UnsupportedError(InputError):
    """What lowbit does not do, or this adapter cannot."""


class FileError(InputError):
    """A file that was read, and is not what was asked for. One that cannot be read is an OSError."""


class NotFittedError(InputError, AttributeError):
    """An estimator that was asked before it was fitted."""


class DeviceError(Error, RuntimeError):
    """No device, a device that stopped working, or a wrong result from one."""


class Fault(Error, RuntimeError):
    """A fault of lowbit's own: please report it with what led to it."""


class OutOfMemoryError(Error, MemoryError):
    """The device has no room for what was asked."""


class Interrupted(Error, RuntimeError):
    """The work was asked to end; with a checkpoint it can be resumed."""
