"""The dispatcher's fakes: a test has as many TorchServe servers as it starts."""

from tests.gateway.dispatch.conftest import fake, fakes, running

__all__ = ["fake", "fakes", "running"]
