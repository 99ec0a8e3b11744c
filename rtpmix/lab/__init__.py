"""The lab server: a small PBX with queue, supervisors and demo phones, on the public API alone."""
