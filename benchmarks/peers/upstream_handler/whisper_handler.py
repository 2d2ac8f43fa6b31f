"""openai-whisper behind TorchServe as most projects put it there: one request at a time, transcribe()."""

import io
import json
import wave

import numpy as np
import torch
import whisper

OPTIONS_HEADER = "x-whisper-options"  # keywords of transcribe(), as JSON


class UpstreamHandler:
    """Rows of 16-bit mono 16 kHz WAV; the text of each, one after the other."""

    def initialize(self, context):
        engine = context.model_yaml_config["handler"]["engine"]
        torch.set_num_threads(engine["threads"])
        self.model = whisper.load_model(engine["model"], device="cpu")

    def handle(self, rows, context):
        answers = []
        for index, row in enumerate(rows):
            context.set_response_content_type(index, "application/json")
            answers.append(json.dumps({"text": self.text(row, context.get_all_request_header(index))}))
        return answers

    def text(self, row, headers):
        body = row.get("body") if isinstance(row, dict) else None
        if not isinstance(body, (bytes, bytearray)) or len(body) < 44:
            return ""  # the canary that serve.sh's modules wait for
        with wave.open(io.BytesIO(body)) as reader:
            pcm = np.frombuffer(reader.readframes(reader.getnframes()), np.int16)
        found = {name.lower(): value for name, value in headers.items()}
        options = json.loads(found.get(OPTIONS_HEADER, "{}"))
        return whisper.transcribe(self.model, pcm.astype(np.float32) / 32_768, fp16=False, **options)["text"]
