"""The tests, mirrored on the package; they run against the real broker and the real InfluxDB."""
