"""What the appliance survives: the real service as a process of its own, between a real broker and a real InfluxDB."""
