"""From scores to text: decoding, the character language model, and what was read."""
