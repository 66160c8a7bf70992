"""The device door: MQTT messages to committed rows, one transaction a flush, acknowledged only after the commit."""
