"""unrolled: recurrent networks over symbols, from a line of text to hidden states to a model."""
