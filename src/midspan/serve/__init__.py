"""The server: OpenAI's API in front of models that decode by diffusion."""
