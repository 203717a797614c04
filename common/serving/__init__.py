"""The reading service: worker processes that read pictures, and the HTTP application in front of them."""
