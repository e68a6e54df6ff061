"""The commands, one file each; ``appliance.cli`` gives them their names."""
