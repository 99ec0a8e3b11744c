"""Codecs and sampling rates: a table, coders behind one interface, a resampler. No I/O."""
