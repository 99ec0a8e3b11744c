"""SIP (RFC 3261) without I/O: bytes and `now` in; datagrams, events and one deadline out."""
