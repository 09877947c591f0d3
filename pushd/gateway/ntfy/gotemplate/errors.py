"""
What can be wrong with a template.

    TemplateError
    ├── TemplateInvalid     it cannot be read
    ├── NotAllowed          it asks for something that no caller gets here
    ├── ExecutionFailed     it does not fit the data, or it takes too much work
    └── OutputTooLarge      what comes out is too long for a message
"""

from __future__ import annotations


class TemplateError(Exception):
    """A template that gives no text; the message says why."""


class TemplateInvalid(TemplateError):
    """Not the language that is read here."""


class NotAllowed(TemplateError):
    """Part of the language, but not for callers: ``define``, ``template``, ``call`` and the like."""


class ExecutionFailed(TemplateError):
    """Something that the data cannot do, such as a field of a number, or more work than anybody gets."""


class OutputTooLarge(TemplateError):
    """Longer than any message may be."""
