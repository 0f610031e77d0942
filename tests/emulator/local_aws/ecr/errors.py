"""The errors that operations answer with."""

from __future__ import annotations

from moto.core.exceptions import ServiceException


class EcrError(ServiceException):
    """An error with one of the codes of the ECR API."""


# moto finds the service that an error belongs to by the module of its class.
EcrError.__module__ = "moto.ecr.exceptions"
