"""Every error that this package raises on purpose.

A message says what came, what was expected, and what to do. The command line prints it as one line; a node logs
it, counts it and drops the message that caused it.
"""


class VprError(Exception):
    """Base of all errors that are a user's or a sensor's to mend, never a bug of this package."""


class BagError(VprError):
    """A bag cannot be read or written: missing, truncated, a topic absent, a type not supported."""


class FramesError(VprError):
    """A frames folder is absent, incomplete or of another schema version."""


class BundleError(VprError):
    """A model bundle is absent, damaged or of another schema version."""


class MapError(VprError):
    """A place map is absent, damaged, of another schema version, or made with another bundle."""


class InputError(VprError):
    """One sensor message cannot be used: unknown encoding, broken JPEG, another image shape, no points.

    `kind` is a short word under which a node counts it.
    """

    def __init__(self, message: str, kind: str = "refused") -> None:
        super().__init__(message)
        self.kind = kind


class RecipeError(VprError):
    """A training recipe or its data cannot work: unknown backbone, no positives, too few frames."""
