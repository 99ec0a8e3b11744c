"""Session descriptions (RFC 8866) and the offer/answer model over them (RFC 3264)."""
