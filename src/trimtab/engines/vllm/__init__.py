"""The vLLM engine: vLLM runs the model, and trimtab's logits processor steers each request inside it."""
