"""Images: sources and encoder."""
