"""The smallest handler that starts: serve.sh's own tests need a server, not a model."""

import json
import os


class StandInHandler:
    """Answers every request with the text in its engine's model file; fails to load where that says so."""

    def initialize(self, context):
        engine = context.model_yaml_config["handler"]["engine"]
        with open(engine["model"], encoding="utf-8") as file:
            self.text = file.read().strip()
        if self.text == "refuse":
            raise ValueError("the checkpoint is not in OpenAI's format")
        if self.text == "die":
            os._exit(3)
        print(json.dumps({"event": "loaded", "model": engine["model"]}), flush=True)

    def handle(self, rows, context):
        for index in range(len(rows)):
            context.set_response_content_type(index, "application/json")
        return [json.dumps({"text": self.text}) for _ in rows]
