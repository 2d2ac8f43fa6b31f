"""A stream whose model loads on demand, and goes while nobody speaks."""

from __future__ import annotations

from tests.gateway.fake_torchserve import FakeTorchServe
from tests.gateway.process.running import until
from tests.gateway.realtime.conftest import StartGateway
from tests.gateway.realtime.streams import counted, speech_pcm, stream


def test_a_stream_loads_its_model_again_for_every_turn_that_needs_it(start: StartGateway) -> None:
    with FakeTorchServe(delay_s=0.005) as fake:
        fake.hypothesis = counted
        fake.models.add("hindi")
        fake.without_workers.add("hindi")
        models = {"hindi": {"load": "on_demand", "idle_s": 0.2}}
        gateway = start(fake, upstream={"models": models})
        hindi = gateway.service.fleet.models["hindi"]
        with stream(gateway.url) as client:
            client.update(transcription={"model": "hindi", "language": "en"}, turn_detection=None)
            assert hindi.loads == 1, "the session is checked against its model"
            for loads in (2, 3):
                until(lambda: hindi.state == "unloaded", "nobody speaks")
                client.append(speech_pcm(0, 1.5))
                until(lambda goal=loads: hindi.loads == goal, "a turn is open")
                client.commit()
                assert client.until(".completed")["transcript"]
                assert hindi.loads == loads
        assert fake.lost["hindi"] == 0
