"""Tables: sources and encoder."""
