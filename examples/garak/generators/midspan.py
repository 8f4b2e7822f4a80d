"""garak's generator for `midspan serve`: chat completions, and the server's own fields beside them.

Fields of every request stand in the run's configuration, those of one prompt in the notes of its
conversation, each under ``midspan``. What garak's OpenAI generators send and a diffusion server
has no use for, such as stop texts of "#" and ";" that cut a canvas, is left out by default.
"""

import contextlib

from garak.generators.openai import OpenAICompatible

_UNUSED = {"stop", "frequency_penalty", "presence_penalty"}


class MidspanServer(OpenAICompatible):
    """A diffusion language model behind midspan serve."""

    ENV_VAR = "MIDSPAN_SERVE_TOKEN"
    generator_family_name = "midspan"
    supports_multiple_generations = True

    DEFAULT_PARAMS = OpenAICompatible.DEFAULT_PARAMS | {
        "uri": "http://127.0.0.1:8000/v1/",
        "suppressed_params": _UNUSED,
        "midspan": {},
    }

    def _validate_env_var(self):
        """A server on this machine asks for no token."""
        with contextlib.suppress(Exception):
            super()._validate_env_var()
        self.api_key = getattr(self, "api_key", None) or "none"

    def _call_model(self, prompt, generations_this_call=1):
        """Ask with the run's fields and the prompt's; those of the prompt win."""
        notes = getattr(prompt, "notes", None) or {}
        own = {**self.midspan, **notes.get("midspan", {})}
        kept = self.extra_params
        try:
            if own:
                body = {**kept.get("extra_body", {}), "midspan": own}
                self.extra_params = {**kept, "extra_body": body}
            return super()._call_model(prompt, generations_this_call)
        finally:
            self.extra_params = kept


DEFAULT_CLASS = "MidspanServer"
