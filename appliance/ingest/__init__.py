"""From MQTT to readings: the client, the topics and the payload formats."""
