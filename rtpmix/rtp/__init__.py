"""RTP and RTCP on bytes: headers, sequence numbers, reception quality, digits, SRTP keys.

No sockets and no clock: times are arguments, counted in units of the media clock.
"""
