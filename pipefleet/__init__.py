"""The command line of Pipefleet."""
