"""Structure of encoders and decoders."""
