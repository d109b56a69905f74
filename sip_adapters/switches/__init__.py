"""Switch-side integrations: configuration and agents that run on, or in, the switch itself; one folder a switch."""
