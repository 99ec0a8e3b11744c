"""The shell: asyncio, sockets and threads around the cores. Import names from `rtpmix`."""
