"""The result of evaluating a recognizer on a split."""
