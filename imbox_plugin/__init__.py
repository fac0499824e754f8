"""ImBox client-integration plugin server: your customers, in the agent's panel."""
