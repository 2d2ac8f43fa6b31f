"""The sync engine over an upstream."""

from __future__ import annotations

import pytest

from asr.schema import Hypothesis
from gateway.dispatch.engine import TorchServeEngine
from gateway.errors import NotReady
from gateway.settings import UpstreamSettings
from tests.gateway.dispatch.sessions import make_window, text_of
from tests.gateway.fake_hypotheses import SPEC, fake_text
from tests.gateway.fake_torchserve import FakeTorchServe


def test_windows_in_hypotheses_out_in_order(fake: FakeTorchServe) -> None:
    windows = [make_window(i) for i in range(40)]
    with TorchServeEngine(UpstreamSettings(urls=(fake.url,))) as engine:
        outcomes = engine.decode(windows)
        assert (engine.spec, engine.max_batch_size) == (SPEC, 16)
    assert all(isinstance(outcome, Hypothesis) for outcome in outcomes)
    texts = [text_of(outcome) for outcome in outcomes if isinstance(outcome, Hypothesis)]
    assert texts == [fake_text(window) for window in windows]


def test_without_an_upstream_it_says_so(fake: FakeTorchServe) -> None:
    fake.stop()
    with pytest.raises(NotReady):
        TorchServeEngine(UpstreamSettings(urls=(fake.url,)), ready_timeout_s=0.2)
